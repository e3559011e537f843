import { LlavaError, toLlavaError } from "./errors.js";
import { describeAdapter, findAdapter } from "./gpu.js";
import { readManifest } from "./loader.js";
import { filesOf } from "./manifest.js";
import { openStore } from "./store.js";
import { DEFAULT_MODEL, modelUrl } from "./url.js";

/** Whether a model could be loaded here, and what that would take. Sizes are in bytes. */
export interface Availability {
  /** Nothing stands in the way. */
  available: boolean;
  /** What does, each with what to do about it. */
  problems: LlavaError[];
  /** The GPU that would be used. */
  adapter: string | undefined;
  /** Size of the model; undefined where its manifest cannot be read. */
  total_bytes: number | undefined;
  stored_bytes: number;
  /** What a load would fetch. */
  bytes_to_download: number | undefined;
  /** What this site may store in all, and does store, as far as the browser tells. */
  quota: number | undefined;
  usage: number | undefined;
}

/** Looks before any download (but the manifest's) what a load of `url` would meet. It does not throw: it tells. */
export async function availability(url: string | URL = DEFAULT_MODEL, { signal = new AbortController().signal } = {}): Promise<Availability> {
  const problems: LlavaError[] = [];
  const note = (error: unknown) => {
    problems.push(toLlavaError(error, "io"));
    return undefined;
  };
  const address = modelUrl(url);
  const adapter = await findAdapter().catch(note);
  const { quota, usage } = (await navigator.storage?.estimate().catch(() => undefined)) ?? {};
  // No storage is no reason not to run: the model then comes from the network each time.
  const store = await openStore().catch(() => undefined);
  const [records, hashes] = store ? await Promise.all([store.models(), store.hashes()]) : [[], new Set<string>()];
  store?.close();
  const known = records.find((record) => record.url === address);
  const read = await readManifest(address, known, { signal, onWarning: () => undefined }).catch(note);
  const manifest = read?.[1];
  const stored = manifest ? filesOf(manifest).filter(({ sha256 }) => hashes.has(sha256)) : [];
  const stored_bytes = stored.reduce((sum, { bytes }) => sum + bytes, 0);
  const bytes_to_download = manifest && manifest.total_bytes - stored_bytes;
  if (bytes_to_download !== undefined && quota !== undefined && usage !== undefined && bytes_to_download > quota - usage) {
    const room = `there is room for ${quota - usage} bytes and ${bytes_to_download} are to be stored`;
    note(new LlavaError("quota_exceeded", `The model would run, but not be kept for the next visit: ${room}. Free some with models.delete(url).`));
  }
  return {
    available: problems.every(({ code }) => code === "quota_exceeded"),
    problems,
    adapter: adapter && describeAdapter(adapter),
    total_bytes: manifest?.total_bytes,
    stored_bytes,
    bytes_to_download,
    quota,
    usage,
  };
}
