/** Stable names of everything that can go wrong; branch on these, not on messages. */
export type ErrorCode =
  | "missing_input" // a required field is absent
  | "invalid_input" // a field is of the wrong type, out of range or unknown
  | "too_large" // the picture has more bytes or pixels than the limit
  | "bad_image" // the picture cannot be read or decoded
  | "aborted" // the caller's AbortSignal fired
  | "disposed" // the model was disposed of, before the call or meanwhile
  | "no_such_model" // nothing is served at the model's URL, or the name is not known to createAI
  | "bad_bundle" // the manifest, a chunk or a tensor is damaged or inconsistent
  | "bad_tokenizer" // the tokenizer cannot be read or cannot encode the prompt
  | "unsupported_model" // the checkpoint's config asks for something this library does not do
  | "network" // the server or the connection failed, after all retries
  | "storage" // the browser's storage failed
  | "quota_exceeded" // the browser's storage is full: what is stored stays usable
  | "insecure_context" // the page is not served over https or from localhost
  | "webgpu_unavailable" // no WebGPU, or no adapter
  | "model_too_large" // more than the CPU's engine can address
  | "low_memory" // the device is known to have less memory than the model takes: a warning, the load goes on; or the CPU's engine had none left for a request
  | "gpu" // the GPU was lost, is out of memory or too small
  | "io" // a chunk could not be read
  | "engine_failed"; // the worker or its WebAssembly did not start, or crashed

/** The hosted service's numeric codes, where it has one for the same failure. */
const HOSTED_CODES: Partial<Record<ErrorCode, number>> = {
  missing_input: 3003,
  too_large: 3006,
  aborted: 3008,
  bad_image: 5004,
  no_such_model: 5007,
};

/** Every error of this package. The message says what is wrong and what to do about it. */
export class LlavaError extends Error {
  /** Stable name of the failure. */
  readonly code: ErrorCode;
  /** The hosted service's numeric code for the same failure, where it has one. */
  readonly hosted_code: number | undefined;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    // Code written for fetch and streams looks for this name.
    this.name = code === "aborted" ? "AbortError" : "LlavaError";
    this.code = code;
    this.hosted_code = HOSTED_CODES[code];
  }

  /** What `JSON.stringify` writes: of an Error it would leave out the message. */
  toJSON(): { name: string; code: ErrorCode; hosted_code?: number; message: string } {
    const { name, code, hosted_code, message } = this;
    return { name, code, ...(hosted_code !== undefined && { hosted_code }), message };
  }
}

/** The device has failed the engine, which has ended: another one may do better. */
export class DeviceFailed extends LlavaError {
  /**
   * @param what happened, a whole sentence
   * @param cure what to do about it
   */
  constructor(
    readonly what: string,
    cure: string,
    code: ErrorCode = "gpu",
  ) {
    super(code, `${what} ${cure}`);
  }
}

/** The GPU was lost, whatever was running on it: the same request may be answered by another engine. */
export class GpuLost extends DeviceFailed {
  constructor(what: string) {
    super(what, "Load the model again.");
  }
}

/** The device has no room for what was running on it, and would have none again. */
export class DeviceOutOfMemory extends DeviceFailed {}

/** The engine has ended for what it does not know. */
export class EngineCrashed extends LlavaError {}

/** The error for a signal that fired; what the caller gave to `abort(reason)` is its cause. */
export function aborted(signal?: AbortSignal): LlavaError {
  return new LlavaError("aborted", "Stopped by the caller's AbortSignal.", { cause: signal?.reason });
}

/** `error` as a LlavaError: itself, or the same message under its own code or `fallback`. */
export function toLlavaError(error: unknown, fallback: ErrorCode): LlavaError {
  if (error instanceof LlavaError) return error;
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  const text = typeof message === "string" && message !== "" ? message : String(error);
  return new LlavaError(typeof code === "string" ? (code as ErrorCode) : fallback, text, { cause: error });
}

/** An error in the form that crosses `postMessage`, which drops the fields of a class. */
export interface PlainError {
  code: ErrorCode;
  message: string;
}

export function toPlain(error: LlavaError): PlainError {
  return { code: error.code, message: error.message };
}

export function fromPlain({ code, message }: PlainError): LlavaError {
  return new LlavaError(code, message);
}
