import { PATIENCE, sleep, within } from "../basics/abort.js";
import { aborted, LlavaError, type ErrorCode } from "../basics/errors.js";
import { ANOTHER_HOST, fetchUrl, NO_SUCH_FILE } from "../basics/host.js";
import { blockedCure } from "../basics/policy.js";
import { sha256 } from "../basics/sha256.js";
import type { BundleFile } from "./manifest.js";

/** Tries of one file before the download gives up. */
const TRIES = 5;
/** Pause before the second try, in ms; it doubles with every further one. */
const FIRST_PAUSE = 500;
/** Pause after "too many requests" (429) where the server says none, or does not let other hosts' pages read it. */
const CROWDED_PAUSE = 10_000;
/** Longest pause, also where a server asks for more with Retry-After. */
const LONGEST_PAUSE = 30_000;

/** A failure that may pass: worth another try. */
class Passing {
  constructor(
    readonly error: LlavaError,
    /** Pause the server asked for, in ms. */
    readonly pause?: number,
  ) {}
}

export interface FetchOptions {
  signal: AbortSignal;
  tries?: number;
  /** The code of the error where there is no such file; `network` where absent. */
  missing?: ErrorCode;
  /** Longest silence of the server, in ms. */
  patience?: number;
  /** Told the bytes received so far; starts again from 0 when a try fails. No more is read before it resolves. */
  onBytes?: (received: number) => Promise<void> | void;
}

/**
 * Fetches one file of a bundle and checks its size and hash.
 *
 * @throws LlavaError `network`, `bad_bundle` or `aborted`.
 */
export async function fetchFile(url: URL, { bytes, sha256: wanted }: BundleFile, options: FetchOptions): Promise<Uint8Array<ArrayBuffer>> {
  return retrying(options, async () => {
    await options.onBytes?.(0);
    const response = await request(url, options);
    const contents = new Uint8Array(bytes);
    let received = 0;
    await readBody(response, options, (piece) => {
      if (received + piece.length > bytes) throw wrongFile(url, `is larger than the ${bytes} bytes the manifest says`, response);
      contents.set(piece, received);
      received += piece.length;
      return options.onBytes?.(received);
    });
    if (received < bytes) throw wrongFile(url, `broke off after ${received} of ${bytes} bytes`, response);
    if ((await sha256(contents)) !== wanted) throw wrongFile(url, "does not have the hash the manifest says", response);
    return contents;
  });
}

/**
 * Fetches a small text file.
 *
 * @throws LlavaError `missing` where there is none, else `network` or `aborted`.
 */
export async function fetchText(url: URL, options: FetchOptions): Promise<string> {
  return retrying(options, async () => {
    const decoder = new TextDecoder();
    let text = "";
    await readBody(await request(url, options), options, (piece) => {
      text += decoder.decode(piece, { stream: true });
    });
    return text + decoder.decode();
  });
}

/** Runs `attempt` until it succeeds, fails for good, or has failed `tries` times. */
async function retrying<T>({ signal, tries = TRIES }: FetchOptions, attempt: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await attempt();
    } catch (failure) {
      if (signal.aborted) throw aborted(signal);
      if (!(failure instanceof Passing)) throw failure;
      if (tried >= tries) throw failure.error;
      // A random part keeps the visitors of a struggling server from coming back all at once.
      const backOff = FIRST_PAUSE * 2 ** (tried - 1) * (0.75 + Math.random() / 2);
      await sleep(Math.min(failure.pause ?? backOff, LONGEST_PAUSE), signal);
    }
  }
}

async function request(url: URL, { signal, patience, missing = "network" }: FetchOptions): Promise<Response> {
  const silence = new AbortController();
  let response: Response;
  try {
    // The store is our cache: a second copy of gigabytes in the browser's own would only take up room.
    const answer = fetchUrl(url, { signal: AbortSignal.any([signal, silence.signal]), cache: "no-store" });
    response = await beforeStall(answer, url.href, patience);
  } catch (error) {
    silence.abort();
    if (error instanceof Passing || error instanceof LlavaError) throw error;
    const cure = await blockedCure(url.href);
    if (cure) throw new LlavaError("network", `${url.href} was not fetched. ${cure}`, { cause: error });
    if (url.protocol === "file:") throw new LlavaError("network", `${url.href} cannot be fetched: serve the page and its files over http.`, { cause: error });
    throw new Passing(new LlavaError("network", `${url.href} cannot be reached. Check the connection and the address${ANOTHER_HOST}.`, { cause: error }));
  }
  if (response.ok) return response;
  void response.body?.cancel().catch(() => undefined);
  const { status, statusText } = response;
  const error = new LlavaError(
    status === 404 ? missing : "network",
    status === 404 ? `${url.href}: ${NO_SUCH_FILE}.` : `${`${url.href} answered ${status} ${statusText}`.trimEnd()}.`,
  );
  if (status >= 500 || status === 429 || status === 408) {
    throw new Passing(error, retryAfter(response) ?? (status === 429 ? CROWDED_PAUSE : undefined));
  }
  throw error;
}

/** Reads the body to its end; a connection that breaks or stalls is worth another try. */
async function readBody(response: Response, { patience }: FetchOptions, onPiece: (piece: Uint8Array) => Promise<void> | void): Promise<void> {
  const reader = response.body!.getReader();
  try {
    for (;;) {
      const { done, value } = await beforeStall(reader.read(), response.url, patience);
      if (done) return;
      await onPiece(value);
    }
  } catch (error) {
    void reader.cancel().catch(() => undefined);
    if (error instanceof Passing || error instanceof LlavaError) throw error;
    throw new Passing(new LlavaError("network", `The connection broke while ${response.url} was read.`, { cause: error }));
  }
}

function beforeStall<T>(promise: Promise<T>, url: string, patience = PATIENCE): Promise<T> {
  return within(promise, patience, () => new Passing(new LlavaError("network", `${url} sent nothing for ${patience / 1000} s.`)));
}

/** Not the file the manifest names: damaged on the way (worth another try), or another one altogether. */
function wrongFile(url: URL, problem: string, response: Response): Passing | LlavaError {
  const error = (cure: string) => new LlavaError("bad_bundle", `${url.href} ${problem}. ${cure}`);
  // A page for people (a start page for every address, a login) is what the server will send the next time too.
  if (response.headers.get("content-type")?.startsWith("text/html")) {
    const cure = "open the address in a tab to see which; the bundle's files must be served as they are.";
    return error(`The server sent a web page in its place: ${cure}`);
  }
  return new Passing(error("If this stays so, upload the bundle again, or look for a proxy that changes files."));
}

/** The pause a server asks for, in ms: Retry-After holds seconds or a date. */
function retryAfter(response: Response): number | undefined {
  const value = response.headers.get("retry-after");
  if (!value) return undefined;
  const pause = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(pause) ? undefined : Math.max(0, pause);
}
