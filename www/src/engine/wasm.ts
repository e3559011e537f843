import { LlavaError } from "../basics/errors.js";
import { FILES_CURE, fetchUrl } from "../basics/host.js";
import { blockedCure } from "../basics/policy.js";
import { sha256 } from "../basics/sha256.js";
import { BUILD } from "./build.js";
import { cachedCopy, keepCopy } from "./cached.js";

/** An engine's wasm: where it is, and the SHA-256 of the one that goes with this build. */
export interface Wasm {
  address: string;
  sha256: string;
}

/**
 * Fetches an engine and hands it to `start`, which compiles it while it comes; from the kept copy where the network fails.
 *
 * @throws LlavaError `engine_failed`, saying what the server sent, or which policy forbids it.
 */
export async function startWasm({ address, sha256: wanted }: Wasm, start: (wasm: { module_or_path: Response }) => Promise<unknown>): Promise<void> {
  const response = await fetchWasm(address);
  const copy = response.clone().arrayBuffer();
  try {
    const [bytes] = await Promise.all([checked(copy, address, wanted), start({ module_or_path: response })]);
    void keepCopy(address, bytes, "application/wasm");
  } catch (error) {
    copy.catch(() => undefined);
    throw compileError(error);
  }
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
  const bytes = new Uint8Array(await coming);
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
