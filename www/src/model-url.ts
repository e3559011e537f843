import { absolute, packaged } from "./assets.js";
import { configuration } from "./configure.js";
import { DEFAULT_FILES, DEFAULT_MANIFEST_SHA256 } from "./default-files.js";
import { LlavaError } from "./errors.js";
import { nameOf } from "./naming.js";
import type { Source } from "./source.js";

/** The name of the model that ships with the package, wherever a bundler has put its files. */
export const DEFAULT_MODEL = "llava-web:llava-sketches";

/**
 * The one form of a model's address, which is also its key in the store: absolute, of the folder, with a slash at the end.
 * A link to the folder's manifest.json means the folder.
 *
 * @throws LlavaError `invalid_input`
 */
export function modelUrl(url: string | URL): string {
  if (url === DEFAULT_MODEL) return url;
  const cure = "Give the URL of the folder that holds manifest.json.";
  if (!(url instanceof URL) && typeof url !== "string") {
    throw new LlavaError("invalid_input", `A model is named by its URL, a text or a URL object, but this is ${nameOf(url)}. ${cure}`);
  }
  let address: URL;
  try {
    address = new URL(absolute(url));
  } catch (cause) {
    throw new LlavaError("invalid_input", `The model's URL is not valid: ${JSON.stringify(String(url).slice(0, 80))}. ${cure}`, { cause });
  }
  // `javascript:`, `data:`, `blob:`, ... have no folders.
  if (String(url).trim() === "" || !address.href.includes("://") || address.protocol === "blob:") {
    throw new LlavaError("invalid_input", `This is not the address of a folder: ${nameOf(String(url))}. ${cure}`);
  }
  address.hash = "";
  address.pathname = address.pathname.replace(/\/manifest\.json$/, "/").replace(/\/*$/, "/");
  return address.href;
}

/** The source behind what a caller named. @throws LlavaError `invalid_input` */
export function sourceOf(url: string | URL): Source {
  const key = modelUrl(url);
  if (key !== DEFAULT_MODEL) return { key, folder: key };
  const { model } = configuration();
  const folder = model === undefined ? undefined : modelUrl(model);
  const files: Record<string, string> = {};
  for (const [path, [name, address]] of Object.entries(DEFAULT_FILES)) {
    files[path] = folder === undefined ? packaged("model", address) : new URL(name, folder).href;
  }
  return { key, files, manifest_sha256: DEFAULT_MANIFEST_SHA256 };
}
