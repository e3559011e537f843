import { LlavaError } from "../basics/errors.js";

/** A file of the bundle. */
export interface BundleFile {
  /** Path relative to the bundle's folder. */
  file: string;
  bytes: number;
  /** SHA-256 in lower-case hexadecimal: the file's name in the store. */
  sha256: string;
}

/** The part of manifest.json that loading needs; the engine reads and checks the rest. */
export interface Manifest {
  name: string;
  quantization: string;
  tokenizer: BundleFile;
  chunks: BundleFile[];
  /** Bytes of all files named here. */
  total_bytes: number;
  tensors: TensorSize[];
  decoder: DecoderSizes;
}

export interface TensorSize {
  name: string;
  bytes: number;
}

/** Of the decoder's configuration, what the size of its context depends on. */
export interface DecoderSizes {
  num_hidden_layers: number;
  num_key_value_heads: number;
  head_dim: number;
  max_position_embeddings: number;
}

const FORMAT = "llava-web";
const VERSION = 1;
/** Static hosts cap files at 25 MiB and the converter stays below 16; more is not ours, and would fill memory. */
const MAX_CHUNK_BYTES = 16 * 1024 * 1024;
const MAX_TOKENIZER_BYTES = 64 * 1024 * 1024;

/**
 * Reads manifest.json.
 *
 * @param where its address, for messages
 * @throws LlavaError `bad_bundle`, naming the field.
 */
export function parseManifest(text: string, where: string): Manifest {
  const bad = (problem: string, cause?: unknown) => new LlavaError("bad_bundle", `${where}: ${problem}`, { cause });
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
  const { format, version, model, config, quantization, tokenizer, tensors, chunks } = (json ?? {}) as Record<string, unknown>;
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
    return { file, bytes: bytes!, sha256 };
  };
  const files = chunks.map((chunk, index) => file(`chunks[${index}]`, chunk, MAX_CHUNK_BYTES));
  const tokenizerFile = file("tokenizer", tokenizer, MAX_TOKENIZER_BYTES);
  return {
    name,
    quantization: String(quantization),
    tokenizer: tokenizerFile,
    chunks: files,
    total_bytes: files.reduce((sum, { bytes }) => sum + bytes, tokenizerFile.bytes),
    tensors: tensorSizes(tensors),
    decoder: decoderSizes(config),
  };
}

/** For plans and messages only, so that what is odd here counts as nothing: the engine refuses it, naming the field. */
function tensorSizes(tensors: unknown): TensorSize[] {
  if (!Array.isArray(tensors)) return [];
  return tensors.map((tensor: { name?: unknown; spans?: { bytes?: unknown }[] } | null) => ({
    name: String(tensor?.name),
    bytes: Array.isArray(tensor?.spans) ? tensor.spans.reduce((sum, span) => sum + size(span?.bytes, 0), 0) : 0,
  }));
}

/** Defaults are those of src/config.rs, which are transformers'. */
function decoderSizes(config: unknown): DecoderSizes {
  const fields = (config ?? {}) as Record<string, unknown>;
  const text = (fields.text_config ?? fields) as Record<string, unknown>;
  const heads = size(text.num_attention_heads, 32);
  return {
    num_hidden_layers: size(text.num_hidden_layers, 32),
    num_key_value_heads: size(text.num_key_value_heads, heads),
    head_dim: size(text.head_dim, Math.floor(size(text.hidden_size, 4096) / heads)),
    max_position_embeddings: size(text.max_position_embeddings, 2048),
  };
}

function size(value: unknown, otherwise: number): number {
  return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : otherwise;
}

/** All files of the bundle, in the order they are needed. */
export function filesOf({ tokenizer, chunks }: Manifest): BundleFile[] {
  return [tokenizer, ...chunks];
}

/** Whether a relative path stays in its folder and on its host. */
function isInside(path: string): boolean {
  const base = "https://bundle.invalid/folder/";
  return URL.canParse(path, base) && new URL(path, base).href.startsWith(base);
}
