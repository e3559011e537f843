import { LlavaError } from "../basics/errors.js";
import { absolute } from "../basics/host.js";
import { nameOf } from "../basics/naming.js";
import { packaged } from "../engine/assets.js";
import type { SourceAddress } from "../weights/sources.js";
import { configuration } from "./configure.js";
import { DEFAULT_FILES, DEFAULT_MANIFEST_SHA256 } from "./default-files.js";

/** The name of the model that ships with the package, wherever a bundler has put its files. */
export const DEFAULT_MODEL = "llava-web:default";

/** A kind of name that callers have for a model. */
interface NameKind {
  matches(name: string | URL): boolean;
  /** The one form of a name, which is also the model's key in the store. @throws LlavaError `invalid_input` */
  key(name: string | URL): string;
  /** Where the weights come from. */
  address(key: string): SourceAddress;
}

/** The first that matches counts. */
const NAMES: NameKind[] = [
  { matches: (name) => name === DEFAULT_MODEL, key: () => DEFAULT_MODEL, address: packagedBundle },
  { matches: () => true, key: folderUrl, address: (key) => ({ kind: "bundle", key, folder: key }) },
];

/** The one form of what a caller names a model by, which is also its key in the store. @throws LlavaError `invalid_input` @internal */
export function modelUrl(name: string | URL): string {
  return kindOf(name).key(name);
}

/** Where the weights of the model come from that a caller has named. @throws LlavaError `invalid_input` @internal */
export function sourceOf(name: string | URL): SourceAddress {
  const kind = kindOf(name);
  return kind.address(kind.key(name));
}

function kindOf(name: string | URL): NameKind {
  return NAMES.find(({ matches }) => matches(name))!;
}

/** The bundle in the package, wherever a bundler has put its files. */
function packagedBundle(key: string): SourceAddress {
  const { model } = configuration();
  const folder = model === undefined ? undefined : folderUrl(model);
  const files: Record<string, string> = {};
  for (const [path, [name, address]] of Object.entries(DEFAULT_FILES)) {
    files[path] = folder === undefined ? packaged("model", address) : new URL(name, folder).href;
  }
  return { kind: "bundle", key, files, manifest_sha256: DEFAULT_MANIFEST_SHA256 };
}

/** The address of a folder: absolute, with a slash at the end. A link to the folder's manifest.json means the folder. */
function folderUrl(url: string | URL): string {
  const cure = "Give the URL of the folder that holds manifest.json.";
  if (!(url instanceof URL) && typeof url !== "string") {
    throw new LlavaError("invalid_input", `A model is named by its URL, a text or a URL object, but this is ${nameOf(url)}. ${cure}`);
  }
  let address: URL;
  try {
    address = new URL(absolute(url));
  } catch (cause) {
    throw new LlavaError("invalid_input", `The model's URL is not valid: ${nameOf(String(url))}. ${cure}`, { cause });
  }
  // `javascript:`, `data:`, `blob:`, ... have no folders.
  if (String(url).trim() === "" || !address.href.includes("://") || address.protocol === "blob:") {
    throw new LlavaError("invalid_input", `This is not the address of a folder: ${nameOf(String(url))}. ${cure}`);
  }
  address.hash = "";
  address.pathname = address.pathname.replace(/\/manifest\.json$/, "/").replace(/\/*$/, "/");
  return address.href;
}
