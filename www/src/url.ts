import { LlavaError } from "./errors.js";

/** The model that ships with the package. */
export const DEFAULT_MODEL = new URL("../models/llava-sketches/", import.meta.url).href;

/**
 * The one form of a model's address, which is also its key in the store: absolute, of the folder, with a slash at the end.
 * A link to the folder's manifest.json means the folder.
 */
export function modelUrl(url: string | URL): string {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  if (!URL.canParse(String(url), base)) {
    throw new LlavaError("invalid_input", `The model's URL is not valid: ${JSON.stringify(String(url))}. Give the folder that holds manifest.json.`);
  }
  const address = new URL(String(url), base);
  address.hash = "";
  address.pathname = address.pathname.replace(/\/manifest\.json$/, "/").replace(/\/*$/, "/");
  return address.href;
}
