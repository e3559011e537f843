import { LlavaError } from "../basics/errors.js";

/** A file of the bundle. */
export interface BundleFile {
  /** Path relative to the bundle's folder. */
  file: string;
  bytes: number;
  /** SHA-256 in lower-case hexadecimal: the file's name in the store. */
  sha256: string;
}

/** The part of manifest.json that loading needs, of all models in it; the engine reads and checks the rest. */
export interface Manifest {
  /** The names of all, joined by a plus. */
  name: string;
  quantization: string;
  /** One for each model. */
  tokenizers: BundleFile[];
  /** Those of the second model follow those of the first, and the engine counts them so. */
  chunks: BundleFile[];
  /** Bytes of all files named here. */
  total_bytes: number;
  /** What each model will take of memory; undefined in bundles made before manifests told it. */
  memory: MemoryNeeds[] | undefined;
}

/** As the converter works it out (src/bundle/memory.rs has the same fields). Sizes are in bytes. */
export interface MemoryNeeds {
  /** Of the weights that must lie in one buffer, under the name it has in the engine; others are cut where need be. */
  largest_weight: { name: string; bytes: number };
  /** Layers of the decoder, each with a buffer of keys and one of values. */
  layers: number;
  /** Numbers of a position's keys, or values, in one layer. */
  keys: number;
  /** Numbers of a position in the table of rotations. */
  head_dim: number;
  trained_positions: number;
  /** Positions that a picture takes. */
  image_tokens: number;
  /** The largest intermediate result of a picture. */
  picture_bytes: number;
  /** The largest intermediate result of the decoder, for each position that runs at once. */
  position_bytes: number;
}

const FORMAT = "llava-web";
const VERSION = 1;
/** Static hosts cap files at 25 MiB and the converter stays below 16; more is not ours, and would fill memory. */
const MAX_CHUNK_BYTES = 16 * 1024 * 1024;
const MAX_TOKENIZER_BYTES = 64 * 1024 * 1024;
/** Where the files of a second model lie, as in src/bundle. */
const SECOND_FOLDER = "second/";

/**
 * Reads manifest.json.
 *
 * @param where its address, for messages
 * @throws LlavaError `bad_bundle`, naming the field.
 */
export function parseManifest(text: string, where: string): Manifest {
  const bad: Bad = (problem, cause) => new LlavaError("bad_bundle", `${where}: ${problem}`, { cause });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    const html = text.trimStart().startsWith("<");
    throw bad(
      html
        ? "the server answered with a web page instead of a manifest. The model's URL must be the folder that holds manifest.json."
        : "not valid JSON. The file is damaged: upload the bundle again.",
      error,
    );
  }
  const { second, ...first } = (json ?? {}) as Record<string, unknown>;
  const parts = [readModel(first, "", bad)];
  if (second !== undefined && second !== null) {
    parts.push(readModel((second as { manifest?: Record<string, unknown> }).manifest ?? {}, SECOND_FOLDER, (problem) => bad(`in \`second.manifest\`, ${problem}`)));
  }
  const memory = parts.flatMap(({ memory }) => memory ?? []);
  const files = { tokenizers: parts.map(({ tokenizer }) => tokenizer), chunks: parts.flatMap(({ chunks }) => chunks) };
  return {
    name: parts.map(({ name }) => name).join(" + "),
    quantization: parts[0]!.quantization,
    ...files,
    total_bytes: filesOf(files).reduce((sum, { bytes }) => sum + bytes, 0),
    memory: memory.length === parts.length ? memory : undefined,
  };
}

type Bad = (problem: string, cause?: unknown) => LlavaError;

/** One model of a bundle, whose files lie in `folder`. */
function readModel(json: Record<string, unknown>, folder: string, bad: Bad) {
  const { format, version, model, quantization, memory, tokenizer, chunks } = json;
  if (format !== FORMAT) throw bad(`\`format\` must be "${FORMAT}": this is not a bundle made by llava-convert.`);
  if (version !== VERSION) {
    throw bad(`\`version\` is ${String(version)}, but this package reads ${VERSION}: update llava-web, or convert the model again.`);
  }
  const name = (model as { name?: unknown } | undefined)?.name;
  if (typeof name !== "string") throw bad("`model.name` is missing.");
  if (!Array.isArray(chunks) || chunks.length === 0) throw bad("`chunks` is missing or empty.");

  const file = (field: string, value: unknown, maxBytes: number): BundleFile => {
    const { file, bytes, sha256 } = (value ?? {}) as Partial<BundleFile>;
    if (typeof file !== "string" || !isInside(file)) throw bad(`\`${field}.file\` must be a path inside the bundle's folder.`);
    if (!Number.isSafeInteger(bytes) || bytes! < 1 || bytes! > maxBytes) {
      throw bad(`\`${field}.bytes\` must be a whole number from 1 to ${maxBytes}.`);
    }
    if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256)) {
      throw bad(`\`${field}.sha256\` must be 64 lower-case hexadecimal digits.`);
    }
    return { file: folder + file, bytes: bytes!, sha256 };
  };
  return {
    name,
    quantization: String(quantization),
    tokenizer: file("tokenizer", tokenizer, MAX_TOKENIZER_BYTES),
    chunks: chunks.map((chunk, index) => file(`chunks[${index}]`, chunk, MAX_CHUNK_BYTES)),
    memory: memory === undefined || memory === null ? undefined : memoryNeeds(memory, bad),
  };
}

function memoryNeeds(memory: unknown, bad: Bad): MemoryNeeds {
  const count = (object: unknown, path: string, field: string, least: number): number => {
    const value = (object as Record<string, unknown> | null | undefined)?.[field];
    if (Number.isSafeInteger(value) && (value as number) >= least) return value as number;
    throw bad(`\`${path}.${field}\` must be a whole number from ${least}.`);
  };
  const number = (field: string, least: number) => count(memory, "memory", field, least);
  const { largest_weight } = memory as { largest_weight?: { name?: unknown } };
  const name = largest_weight?.name;
  if (typeof name !== "string" || name === "") throw bad("`memory.largest_weight.name` is missing.");
  return {
    largest_weight: { name, bytes: count(largest_weight, "memory.largest_weight", "bytes", 1) },
    layers: number("layers", 1),
    keys: number("keys", 1),
    head_dim: number("head_dim", 1),
    trained_positions: number("trained_positions", 1),
    image_tokens: number("image_tokens", 0),
    picture_bytes: number("picture_bytes", 0),
    position_bytes: number("position_bytes", 1),
  };
}

/** All files of the bundle, in the order they are needed. */
export function filesOf({ tokenizers, chunks }: Pick<Manifest, "tokenizers" | "chunks">): BundleFile[] {
  return [...tokenizers, ...chunks];
}

/** Whether a relative path stays in its folder and on its host. */
function isInside(path: string): boolean {
  const base = "https://bundle.invalid/folder/";
  return URL.canParse(path, base) && new URL(path, base).href.startsWith(base);
}
