import { LlavaError } from "../basics/errors.js";
import { FILES_CURE, fetchUrl } from "../basics/host.js";
import { blockedCure } from "../basics/policy.js";
import { sha256 } from "../basics/sha256.js";
import { BUILD } from "./build.js";
import { cachedCopy, keepCopy } from "./cached.js";
import { compilable } from "./compilable.js";

/** An engine's wasm: where it is, and the SHA-256 of the one that goes with this build. */
export interface Wasm {
  address: string;
  sha256: string;
}

/**
 * Fetches an engine and hands it to `start`, which in a browser compiles it while it comes; from the kept copy where the network fails.
 *
 * @throws LlavaError `engine_failed`, saying what the server sent, or which policy forbids it.
 */
export async function startWasm<T>({ address, sha256: wanted }: Wasm, start: (wasm: { module_or_path: Response | Promise<WebAssembly.Module> }) => Promise<T>): Promise<T> {
  needsWebAssembly();
  const response = await fetchWasm(address);
  const copy = response.clone().arrayBuffer();
  const [bytes, started] = await Promise.allSettled([checked(copy, address, wanted), start({ module_or_path: compilable(response) })]);
  // What is wrong with the file says more than what became of it.
  if (bytes.status === "rejected") throw bytes.reason;
  if (started.status === "rejected") throw compileError(started.reason);
  void keepCopy(address, bytes.value, "application/wasm");
  return started.value;
}

/** A module that uses a vector: `(func (result v128) (v128.const i32x4 0 0 0 0))`. */
const VECTOR = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 22, 1, 20, 0, 253, 12, ...new Array<number>(16).fill(0), 11];

/** @throws LlavaError `engine_failed` where the browser has no WebAssembly, or one without vectors. */
function needsWebAssembly(): void {
  if (typeof WebAssembly === "undefined") {
    throw failed("WebAssembly is switched off here, as in the Lockdown Mode of iPhones and Macs: allow it for this site, or use another browser.");
  }
  if (WebAssembly.validate(new Uint8Array(VECTOR))) return;
  throw failed("This browser's WebAssembly has no SIMD: update it. Chrome and Edge have it from 91, Firefox from 89, Safari from 16.4.");
}

async function fetchWasm(address: string): Promise<Response> {
  let problem: string;
  try {
    const response = await fetchUrl(address);
    const page = response.headers.get("content-type")?.startsWith("text/html");
    if (response.ok && !page) return typed(response);
    const answer = response.status === 404 ? "there is no such file" : `the server answered ${response.status} ${response.statusText}`.trimEnd();
    problem = page ? "the server sent a web page in its place" : answer;
  } catch (error) {
    const cure = await blockedCure(address);
    if (cure) throw failed(`${address} was not fetched. ${cure}`, error);
    problem = "it cannot be fetched; another host must send Access-Control-Allow-Origin";
  }
  const copy = await cachedCopy(address);
  if (copy) return copy;
  throw failed(`The engine is not at ${address}: ${problem}. ${FILES_CURE}`);
}

/** Compiling while it comes needs the right type; not every server knows it. */
function typed(response: Response): Response {
  if (response.headers.get("content-type")?.startsWith("application/wasm")) return response;
  return new Response(response.body, { headers: { "content-type": "application/wasm" } });
}

async function checked(coming: Promise<ArrayBuffer>, address: string, wanted: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(
    await coming.catch((cause: unknown) => {
      throw failed(`${address} came only in part: the connection broke off. Try again.`, cause);
    }),
  );
  if ((await sha256(bytes)) === wanted) return bytes;
  throw failed(`${address} is not the engine of this build (${BUILD}): copy dist/llava-web/ of the package again.`);
}

function compileError(error: unknown): unknown {
  if (!(error instanceof WebAssembly.CompileError) || !/unsafe-eval|content.security.policy|CSP/i.test(error.message)) return error;
  return failed("The Content-Security-Policy forbids WebAssembly: add 'wasm-unsafe-eval' to its script-src.", error);
}

function failed(message: string, cause?: unknown): LlavaError {
  return new LlavaError("engine_failed", message, { cause });
}
