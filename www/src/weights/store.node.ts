import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { LlavaError } from "../basics/errors.js";
import { sha256 } from "../basics/sha256.js";
import type { ModelRecord, Store } from "./record.js";

export type { ModelRecord, Store } from "./record.js";

const FILES = "files";
const MODELS = "models";
const VARIANTS = "variants";
/** The end of the name of a file that is being written. */
const UNFINISHED = ".tmp";
/** Age, in ms, from which such a file is taken for one whose writer is gone. */
const ABANDONED = 60 * 60 * 1000;

/**
 * The store in a folder, LLAVA_WEB_CACHE or one in the user's cache: `files/<hash>`, and a file for each record in `models/` and
 * `variants/`. Each is written under another name and renamed, so that it is there whole or not at all, whoever else writes.
 *
 * A record names the files of a model before they come, so that they are never taken for garbage.
 *
 * @throws LlavaError `storage` where the folder cannot be made.
 */
export async function openStore(): Promise<Store> {
  const root = cacheFolder();
  const path = (...names: string[]) => join(root, ...names);
  const recordPath = async (url: string, state: ModelRecord["state"]) => path(MODELS, `${await hashOf(url)}.${state}.json`);
  const variantsPath = async (key: string) => path(VARIANTS, `${await hashOf(key)}.json`);
  /** Runs `work`, whose failure is one of the store. */
  const run = <T>(work: () => Promise<T>): Promise<T> =>
    work().catch((error: unknown) => {
      throw storageError(root, error);
    });
  const models = async (): Promise<ModelRecord[]> => {
    const names = (await readdir(path(MODELS))).filter((name) => name.endsWith(".json"));
    const contents = await Promise.all(names.map((name) => readIfThere(path(MODELS, name))));
    // Where one went meanwhile, another may have come in its place.
    if (contents.includes(undefined)) return models();
    return contents.map((bytes) => parse<ModelRecord>(bytes!)).filter((record) => record !== undefined);
  };
  /** Deletes the files that no record names. A file that is seen here was written after its record, which is read after that. */
  const collectGarbage = async () => {
    const names = await readdir(path(FILES));
    const named = new Set((await models()).flatMap(({ files }) => files.map((file) => file.sha256)));
    await Promise.all(
      names.map(async (name) => {
        const garbage = isHash(name) ? !named.has(name) : name.endsWith(UNFINISHED) && (await isAbandoned(path(FILES, name)));
        if (garbage) await rm(path(FILES, name), { force: true });
      }),
    );
  };

  await run(() => Promise.all([FILES, MODELS, VARIANTS].map((name) => mkdir(path(name), { recursive: true }))));
  return {
    hashes: () => run(async () => new Set((await readdir(path(FILES))).filter(isHash))),
    get: (hash) => run(() => readIfThere(path(FILES, hash))),
    put: (hash, bytes) => run(() => writeWhole(path(FILES, hash), bytes)),
    models: () => run(models),
    putModel: (record) =>
      run(async () => {
        await writeWhole(await recordPath(record.url, record.state), JSON.stringify(record));
        if (record.state === "ready") await rm(await recordPath(record.url, "partial"), { force: true });
        await collectGarbage();
      }),
    deleteModel: (url) =>
      run(async () => {
        await rm(await recordPath(url, "partial"), { force: true });
        await rm(await recordPath(url, "ready"), { force: true });
        await collectGarbage();
      }),
    variants: (key) =>
      run(async () => {
        const bytes = await readIfThere(await variantsPath(key));
        return bytes && parse(bytes);
      }),
    putVariants: (key, variants) => run(async () => writeWhole(await variantsPath(key), JSON.stringify(variants))),
    usage: () =>
      run(async () => {
        const names = await readdir(path(FILES));
        const sizes = await Promise.all(names.map((name) => stat(path(FILES, name)).then(({ size }) => size, () => 0)));
        return sizes.reduce((sum, size) => sum + size, 0);
      }),
    close: () => undefined,
  };
}

/** Where this system's programs keep what can be had again. */
function cacheFolder(): string {
  const { LLAVA_WEB_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (LLAVA_WEB_CACHE) return resolve(LLAVA_WEB_CACHE);
  const inHome = (...names: string[]) => join(homedir(), ...names);
  const folders: Record<string, string> = {
    win32: LOCALAPPDATA || inHome("AppData", "Local"),
    darwin: inHome("Library", "Caches"),
  };
  return join(folders[process.platform] ?? (XDG_CACHE_HOME || inHome(".cache")), "llava-web");
}

function hashOf(text: string): Promise<string> {
  return sha256(new TextEncoder().encode(text));
}

function isHash(name: string): boolean {
  return /^[0-9a-f]{64}$/.test(name);
}

async function isAbandoned(path: string): Promise<boolean> {
  return stat(path).then(({ mtimeMs }) => Date.now() - mtimeMs > ABANDONED, () => false);
}

/** Writes a file that is there whole or not at all. */
async function writeWhole(path: string, contents: Uint8Array | string): Promise<void> {
  const unfinished = `${path}.${randomUUID()}${UNFINISHED}`;
  try {
    await writeFile(unfinished, contents);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true }).catch(() => undefined);
    throw error;
  }
}

async function readIfThere(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
}

/** What a JSON file says; undefined where it is none. */
function parse<T>(bytes: Uint8Array): T | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as T;
  } catch {
    return undefined;
  }
}

function storageError(root: string, cause: unknown): LlavaError {
  const { code, message } = cause as { code?: string; message: string };
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new LlavaError("quota_exceeded", `The disk of ${root} is full. Free some with models.delete(url), or free disk space.`, { cause });
  }
  return new LlavaError("storage", `Models cannot be kept in ${root}: ${message}. Set LLAVA_WEB_CACHE to a folder that can be written.`, { cause });
}
