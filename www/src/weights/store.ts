import { LlavaError } from "../basics/errors.js";
import type { ModelRecord, Store } from "./record.js";

export type { ModelRecord, Store } from "./record.js";

const DATABASE = "llava-web";
const VERSION = 2;
const FILES = "files";
const MODELS = "models";
const VARIANTS = "variants";

/**
 * The store in this browser's IndexedDB.
 *
 * A record names the files of a model before they come, so that they are never taken for garbage; that a file is there
 * is said only by its own entry, which one transaction writes together with its bytes.
 *
 * @throws LlavaError `storage` where there is no IndexedDB, as in some private modes.
 */
export async function openStore(): Promise<Store> {
  const database = await openDatabase();
  const read = <T>(store: string, run: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> =>
    transact(database, [store], "readonly", async (transaction) => done(run(transaction.objectStore(store))));

  return {
    hashes: async () => new Set((await read(FILES, (files) => files.getAllKeys())) as string[]),
    get: (hash) => read(FILES, (files) => files.get(hash)),
    put: (hash, bytes) =>
      transact(database, [FILES], "readwrite", async (transaction) => {
        await done(transaction.objectStore(FILES).put(bytes, hash));
      }),
    models: () => read(MODELS, (models) => models.getAll()),
    putModel: (record) =>
      transact(database, [FILES, MODELS], "readwrite", async (transaction) => {
        const models = transaction.objectStore(MODELS);
        await done(models.put(record));
        if (record.state === "ready") await done(models.delete([record.url, "partial"]));
        await collectGarbage(transaction);
      }),
    deleteModel: (url) =>
      transact(database, [FILES, MODELS], "readwrite", async (transaction) => {
        const models = transaction.objectStore(MODELS);
        await done(models.delete([url, "partial"]));
        await done(models.delete([url, "ready"]));
        await collectGarbage(transaction);
      }),
    variants: (key) => read(VARIANTS, (variants) => variants.get(key)),
    putVariants: (key, variants) =>
      transact(database, [VARIANTS], "readwrite", async (transaction) => {
        await done(transaction.objectStore(VARIANTS).put(variants, key));
      }),
    usage: async () => (await navigator.storage.estimate()).usage ?? 0,
    close: () => database.close(),
  };
}

function openDatabase(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown) =>
      reject(new LlavaError("storage", "This browser gives the page no storage (a private window?): the model is fetched again on every visit.", { cause }));
    try {
      const request = indexedDB.open(DATABASE, VERSION);
      request.onupgradeneeded = ({ oldVersion }) => {
        if (oldVersion < 1) {
          request.result.createObjectStore(FILES);
          request.result.createObjectStore(MODELS, { keyPath: ["url", "state"] });
        }
        if (oldVersion < 2) request.result.createObjectStore(VARIANTS);
      };
      request.onerror = () => fail(request.error);
      request.onsuccess = () => {
        // Another tab that deletes or upgrades the database must not wait for this one.
        request.result.onversionchange = () => request.result.close();
        resolve(request.result);
      };
    } catch (error) {
      fail(error);
    }
  });
}

/** Runs `work` in one transaction and resolves when it is committed. */
function transact<T>(
  database: IDBDatabase,
  stores: string[],
  mode: IDBTransactionMode,
  work: (transaction: IDBTransaction) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown) => reject(storageError(cause));
    try {
      const transaction = database.transaction(stores, mode);
      let result: T;
      transaction.oncomplete = () => resolve(result);
      transaction.onabort = () => fail(transaction.error);
      work(transaction).then((value) => (result = value), fail);
    } catch (error) {
      fail(error);
    }
  });
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Deletes the files that no record names. */
async function collectGarbage(transaction: IDBTransaction): Promise<void> {
  const files = transaction.objectStore(FILES);
  const records: ModelRecord[] = await done(transaction.objectStore(MODELS).getAll());
  const named = new Set(records.flatMap((record) => record.files.map(({ sha256 }) => sha256)));
  const stored = (await done(files.getAllKeys())) as string[];
  await Promise.all(stored.filter((hash) => !named.has(hash)).map((hash) => done(files.delete(hash))));
}

function storageError(cause: unknown): LlavaError {
  if ((cause as { name?: unknown } | null)?.name === "QuotaExceededError") {
    const cure = "Free some with models.delete(url), or free disk space.";
    return new LlavaError("quota_exceeded", `The browser's storage for this site is full. ${cure}`, { cause });
  }
  return new LlavaError("storage", "The browser's storage failed.", { cause });
}
