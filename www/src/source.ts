import { LlavaError } from "./errors.js";

/** Where a model's files come from. It crosses to the engine's thread. */
export interface Source {
  /** The model's name in the store: the address of its folder, or `DEFAULT_MODEL`. */
  key: string;
  /** The folder that holds manifest.json, with a slash at the end. */
  folder?: string;
  /** Addresses by path, where bundlers have put each file elsewhere. */
  files?: Record<string, string>;
  /** SHA-256 of the manifest, where it is known beforehand: a stored one that differs is an older version. */
  manifest_sha256?: string;
}

/** The address of a file of the model. @throws LlavaError `bad_bundle` for one that was not shipped */
export function fileUrl({ folder, files }: Source, path: string): URL {
  if (folder !== undefined) return new URL(path, folder);
  const address = files?.[path];
  if (address === undefined) throw new LlavaError("bad_bundle", `The package has no ${path} of the default model: install it again.`);
  return new URL(address);
}

/** What to try where there is no model at the source's address: nothing, a page for people, something else. */
export function absenceCure({ folder, files }: Source): string {
  if (files) return " Deploy the package's own files with the page: copy dist/llava-web/ beside the bundle, or configure({ model }).";
  const { hostname, pathname } = new URL(folder!);
  // A name on the Hugging Face Hub looks like a path relative to the page.
  const hub = hostname === "huggingface.co" || hostname === "hf.co" || /\/(@cf\/)?[\w.-]+\/[\w.-]*(llava|vlm|llama)[\w.-]*\/$/i.test(pathname);
  if (!hub) return "";
  return " If a model of the Hugging Face Hub is meant: llava-convert makes a bundle of it first, whose address on a web host is to be given.";
}
