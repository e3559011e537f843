// The kinds of sources there are. What callers name a model of each kind by is said in api/model-url.ts.
import { openBundle, type BundleAddress } from "./bundle.js";
import type { Source } from "./source.js";

/** The address of a source of any kind. */
export type SourceAddress = BundleAddress;

/** How the source behind an address is opened, by its kind. */
const SOURCES: { [Kind in SourceAddress["kind"]]: (address: Extract<SourceAddress, { kind: Kind }>) => Source } = {
  bundle: openBundle,
};

/** The source behind an address. Nothing is fetched yet. */
export function openSource(address: SourceAddress): Source {
  const open = SOURCES[address.kind] as (address: SourceAddress) => Source; // that of its kind
  return open(address);
}
