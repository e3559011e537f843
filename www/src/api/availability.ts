import { LlavaError, toLlavaError, type ErrorCode } from "../basics/errors.js";
import type { DeviceKind, KvFormat, MemoryUse } from "../basics/info.js";
import { megabytes } from "../basics/naming.js";
import type { Device } from "../engine/device.js";
import { findDevice } from "../engine/devices.js";
import { checkAddressable, chooseContext, chooseKvFormat, largestBinding, largestContext, largestResult, memoryUse } from "../engine/memory.js";
import { lowMemory, memoryLimit } from "../engine/memory-limit.js";
import { knownModel, readManifest } from "../weights/loader.js";
import { filesOf, type Manifest } from "../weights/manifest.js";
import { openSource } from "../weights/sources.js";
import { openStore } from "../weights/store.js";
import { checkDevice, chosenDevice } from "./configure.js";
import { DEFAULT_MODEL, sourceOf } from "./model-url.js";
import { checkContextOptions, type LoadOptions } from "./model.js";
import { asOptions } from "./options.js";

/**
 * Whether a model could be loaded here, and what that would take. Sizes are in bytes; undefined is what could not be
 * found out: for memory, of bundles whose manifest does not tell it (those that older converters made).
 */
export interface Availability {
  /** Nothing is known to stand in the way of running the model. It may still not be kept, or the device be too small: see `problems`. */
  available: boolean;
  /** What does not fit or is missing, each with why and what to do about it. */
  problems: LlavaError[];
  /** What would be used: as asked for, or what `auto` comes to. */
  device: DeviceKind | undefined;
  /** The GPU that would be used, or "CPU". */
  adapter: string | undefined;
  /**
   * Its limits that matter: the largest buffer, and the most of one that a shader can read. No browser tells how much
   * memory a GPU has.
   */
  limits: { max_buffer_bytes: number; max_binding_bytes: number } | undefined;
  /** The model's name and the format of its weights. */
  name: string | undefined;
  quantization: string | undefined;
  /** Size of the model. */
  total_bytes: number | undefined;
  stored_bytes: number;
  /** What a load would fetch. */
  bytes_to_download: number | undefined;
  /**
   * Whether the server has another version than the one that is stored whole; `load(url, { update: true })` fetches
   * what changed.
   */
  update: boolean;
  /** What this site may store in all, does store, and may store beyond that, as far as the browser tells. */
  quota: number | undefined;
  usage: number | undefined;
  free_quota: number | undefined;
  /** Whether the browser promised not to delete what this site stores; `load` asks for it. */
  persisted: boolean;
  /** The largest weight that must lie in one buffer, under the name it has in the engine; others are cut where need be. */
  largest_weight: { name: string; bytes: number } | undefined;
  /** Positions of the context: as asked for, or what a load would choose. */
  context_length: number | undefined;
  /** The most positions that the model was trained for and the GPU's limits allow. */
  max_context_length: number | undefined;
  /** What the model takes on that device. Where the device is known to have less, `problems` has one of code `low_memory`. */
  memory: MemoryUse | undefined;
}

/** For which load `availability` is asked; defaults as in `load`. */
export type AvailabilityOptions = Pick<LoadOptions, "device" | "context_length" | "kv_cache" | "signal">;

const KNOWN = ["device", "context_length", "kv_cache", "signal"];
/** Problems with which a model runs, or may. */
const RUNS_ALL_THE_SAME: ErrorCode[] = ["quota_exceeded", "storage", "low_memory"];

/**
 * Looks before any download (but the manifest's) what a load of `url` would take and meet. It does not throw for what
 * it finds: it tells.
 *
 * @throws LlavaError `invalid_input` if an option or `url` makes no sense anywhere.
 */
export async function availability(url: string | URL = DEFAULT_MODEL, options: AvailabilityOptions = {}): Promise<Availability> {
  const { context_length: asked, kv_cache, signal = new AbortController().signal } = asOptions(options, "availability", KNOWN);
  const choice = chosenDevice(options.device);
  checkContextOptions(options);
  checkDevice(choice);
  const source = sourceOf(url);
  const problems: LlavaError[] = [];
  const note = (error: unknown) => {
    problems.push(toLlavaError(error, "io"));
    return undefined;
  };

  // Why `auto` is the CPU is no problem.
  let device = await findDevice(choice, () => undefined).catch(note);
  const { storage } = (globalThis.navigator ?? {}) as Partial<Navigator>; // Node has none
  const { quota, usage } = (await storage?.estimate?.().catch(() => undefined)) ?? {};
  const persisted = (await storage?.persisted?.().catch(() => false)) ?? false;
  // No storage is no reason not to run: the model then comes from the network each time.
  const store = await openStore().catch(note);
  const [known, hashes] = await Promise.all([knownModel(store, source.key), store?.hashes() ?? new Set<string>()]);
  store?.close();
  const read = await readManifest(source, known, { signal, onWarning: () => undefined }).catch(note);
  const manifest = read?.[1];
  const stored_bytes = manifest ? sum(filesOf(manifest).filter(({ sha256 }) => hashes.has(sha256))) : 0;
  const bytes_to_download = manifest && (openSource(source).near ? 0 : manifest.total_bytes - stored_bytes);
  const free_quota = quota !== undefined && usage !== undefined ? Math.max(0, quota - usage) : undefined;
  if (bytes_to_download !== undefined && free_quota !== undefined && bytes_to_download > free_quota) {
    const [wanted, missing] = [megabytes(bytes_to_download), megabytes(bytes_to_download - free_quota)];
    const room = `${wanted} are to be stored and there is room for ${megabytes(free_quota)}, so ${missing} are missing`;
    const cure = "Free some with models.delete(url) or load with `evict: true`, or free disk space.";
    note(new LlavaError("quota_exceeded", `The model would run, but not be kept whole for the next visit: ${room}. ${cure}`));
  }
  const plan = (device: Device | undefined) => {
    const problems: LlavaError[] = [];
    const note = (error: unknown) => void problems.push(toLlavaError(error, "io"));
    return { memory: planMemory(manifest, device, kv_cache, asked, note), problems };
  };
  let planned = plan(device);
  if (choice === "auto" && planned.problems.some(({ code }) => code === "gpu")) {
    // So does `load`, where the GPU fails.
    device = await findDevice("cpu", () => undefined).catch(note);
    planned = plan(device);
  }
  problems.push(...planned.problems);
  return {
    available: problems.every(({ code }) => RUNS_ALL_THE_SAME.includes(code)),
    problems,
    device: device?.kind,
    adapter: device?.name,
    limits: device && {
      max_buffer_bytes: device.limits.maxBufferSize,
      max_binding_bytes: device.limits.maxStorageBufferBindingSize,
    },
    name: manifest?.name,
    quantization: manifest?.quantization,
    total_bytes: manifest?.total_bytes,
    stored_bytes,
    bytes_to_download,
    update: known?.state === "ready" && read !== undefined && read[0] !== known.manifest,
    quota,
    usage,
    free_quota,
    persisted,
    ...planned.memory,
  };
}

type MemoryPlan = Pick<Availability, "largest_weight" | "context_length" | "max_context_length" | "memory">;

function planMemory(
  manifest: Manifest | undefined,
  device: Device | undefined,
  askedFormat: KvFormat | undefined,
  askedLength: number | undefined,
  note: (error: unknown) => void,
): MemoryPlan {
  const needs = manifest?.memory;
  if (!manifest || !device || !needs) {
    return { largest_weight: undefined, context_length: askedLength, max_context_length: undefined, memory: undefined };
  }
  const { limits } = device;
  const { largest_weight } = needs.reduce((a, b) => (b.largest_weight.bytes > a.largest_weight.bytes ? b : a));
  const choose = <T>(choice: () => T, otherwise: T): T => {
    try {
      return choice();
    } catch (error) {
      note(error);
      return otherwise;
    }
  };
  const kv_cache = choose(() => chooseKvFormat(needs, askedFormat), "f32");
  // Only a length that was asked for may be refused.
  const context_length = choose(() => chooseContext(needs, limits, kv_cache, askedLength), askedLength!);
  const most = largestBinding(limits);
  const refuse = (what: string, bytes: number, cure: string) => {
    if (bytes <= most) return;
    const problem = `${what} takes ${megabytes(bytes)}, and this GPU binds ${megabytes(most)} at most`;
    note(new LlavaError("gpu", `The model does not fit: ${problem}. ${cure}`));
  };
  refuse(largest_weight.name, largest_weight.bytes, "Take a smaller model, or convert this one with fewer bits a weight.");
  refuse("its largest intermediate result", largestResult(needs, context_length), "Take a smaller model, or another GPU.");
  const memory = memoryUse(manifest, needs, context_length, kv_cache);
  choose(() => checkAddressable(memory, device.memory), undefined);
  const low = lowMemory(memory, memoryLimit());
  if (low) note(low);
  return {
    largest_weight,
    context_length,
    max_context_length: largestContext(needs, limits, kv_cache),
    memory,
  };
}

function sum(files: { bytes: number }[]): number {
  return files.reduce((total, { bytes }) => total + bytes, 0);
}
