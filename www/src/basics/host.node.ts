// What Node does in its own way: an address may be a path, and a file is read.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { fileURLToPath, pathToFileURL } from "node:url";
import { LlavaError } from "./errors.js";

export const ANOTHER_HOST = "";

/** Bytes of a file that are read at once. */
const PIECE = 2 ** 20;

export const FILES_CURE =
  'Leave the package out of the server\'s bundle (Next.js: serverExternalPackages: ["llava-web"]; webpack: externals; Vite: ssr.external), ' +
  "or say where its dist/llava-web/ is: configure({ cpu_wasm, model }).";

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
    throw new LlavaError("invalid_input", `Not a valid URL: ${JSON.stringify(text.slice(0, 80))}.`, { cause });
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

async function openFile(url: URL, signal: AbortSignal | undefined): Promise<Response> {
  const cannot = (why: string, cause?: unknown) => new LlavaError("io", `${url.href} cannot be read: ${why}.`, { cause });
  try {
    const path = fileURLToPath(url);
    const found = await stat(path);
    if (found.isDirectory()) throw cannot("it is a folder");
    const headers: Record<string, string> = found.isFile() ? { "content-length": String(found.size) } : {};
    const body = Readable.toWeb(createReadStream(path, { highWaterMark: PIECE, signal }));
    return Object.defineProperty(new Response(body, { headers }), "url", { value: url.href });
  } catch (error) {
    if (error instanceof LlavaError) throw error;
    const { code, message } = error as { code?: string; message: string };
    if (code === "ENOENT" || code === "ENOTDIR") return new Response(null, { status: 404 });
    throw cannot(message, error);
  }
}
