// What Node does in its own way: an address may be a path, and a file is read.
import { createReadStream } from "node:fs";
import { stat, type Stats } from "node:fs/promises";
import { Readable } from "node:stream";
import { fileURLToPath, pathToFileURL } from "node:url";
import { aborted, LlavaError } from "./errors.js";
import { nameOf } from "./naming.js";

export const ANOTHER_HOST = "";

/** Bytes of a file that are read at once. */
const PIECE = 2 ** 20;

export const NO_SUCH_FILE = "there is no such file";

export const PICTURES = "encoded bytes, a path, a URL, a Blob or File";

export const FILES_CURE =
  'Leave the package out of the server\'s bundle (Next.js: serverExternalPackages: ["llava-web"]; webpack: externals; Vite: ssr.external), ' +
  "or say where its dist/llava-web/ is: configure({ wasm, model }).";

/**
 * A URL, or the file: URL of a path, which may be relative to the working directory.
 *
 * @throws LlavaError `invalid_input`
 */
export function absolute(address: string | URL): string {
  const text = String(address);
  if (!/^[a-z][a-z\d+.-]+:/i.test(text)) return pathToFileURL(text).href; // one letter is a drive
  try {
    return new URL(text).href;
  } catch (cause) {
    throw new LlavaError("invalid_input", `Not a valid URL: ${nameOf(text)}.`, { cause });
  }
}

/**
 * As `fetch`, of files too: one that is not there is a 404.
 *
 * @throws LlavaError `io` for a file that cannot be read.
 */
export async function fetchUrl(address: string | URL, options?: RequestInit): Promise<Response> {
  const url = new URL(absolute(address));
  return url.protocol === "file:" ? openFile(url, options?.signal ?? undefined) : fetch(url, options);
}

/** Calls `work` after `ms` milliseconds; a program does not go on for that. */
export function later(work: () => void, ms: number): ReturnType<typeof setTimeout> {
  const timer = setTimeout(work, ms);
  (timer as { unref?: () => void }).unref?.(); // a DOM's timers are numbers
  return timer;
}

/** A Blob's bytes. Those of jsdom have no other way to be read than its FileReader. */
export function bytesOfBlob(blob: Blob): Promise<ArrayBuffer> {
  if ("arrayBuffer" in blob) return blob.arrayBuffer();
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as ArrayBuffer);
    reader.onerror = () => reject(reader.error);
    reader.readAsArrayBuffer(blob);
  });
}

async function openFile(url: URL, signal: AbortSignal | undefined): Promise<Response> {
  const cannot = (why: string, cause?: unknown) => new LlavaError("io", `${url.href} cannot be read: ${why}.`, { cause });
  try {
    const path = fileURLToPath(url);
    const found = await statIfThere(path);
    if (!found) return new Response(null, { status: 404 });
    if (found.isDirectory()) throw cannot("it is a folder");
    // A stream whose signal has fired already ends before anybody listens, and its error would end the program.
    if (signal?.aborted) throw aborted(signal);
    const headers: Record<string, string> = found.isFile() ? { "content-length": String(found.size) } : {};
    const body = Readable.toWeb(createReadStream(path, { highWaterMark: PIECE, signal }));
    return Object.defineProperty(new Response(body, { headers }), "url", { value: url.href });
  } catch (error) {
    throw error instanceof LlavaError ? error : cannot((error as Error).message, error);
  }
}

async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as { code: string }).code)) return undefined;
    throw error;
  }
}
