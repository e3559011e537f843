// Weights from a bundle on a host: files that llava-convert has made, fetched as they are.
import { LlavaError } from "../basics/errors.js";
import { FILES_CURE } from "../basics/host.js";
import { fetchFile, fetchText } from "./download.js";
import type { AddressOf, Source } from "./source.js";

export interface BundleAddress extends AddressOf<"bundle"> {
  /** The folder that holds manifest.json, with a slash at the end. */
  folder?: string;
  /** Addresses by path, where bundlers have put each file elsewhere. */
  files?: Record<string, string>;
}

/** A bundle on a host, or the one in the package. */
export function openBundle(address: BundleAddress): Source {
  const manifest = fileUrl(address, "manifest.json");
  const near = manifest.protocol === "file:";
  return {
    where: manifest.href,
    near,
    manifest: async (options) => fetchText(manifest, { ...options, missing: "no_such_model" }),
    file: async (file, options) => fetchFile(fileUrl(address, file.file), file, near ? { ...options, tries: 1 } : options),
    absenceCure: () => absenceCure(address),
  };
}

/** The address of a file of the model. @throws LlavaError `bad_bundle` for one that was not shipped */
function fileUrl({ folder, files }: BundleAddress, path: string): URL {
  if (folder !== undefined) return new URL(path, folder);
  const address = files?.[path];
  if (address === undefined) throw new LlavaError("bad_bundle", `The package has no ${path} of the default model: install it again.`);
  return new URL(address);
}

/** What to try where there is no model at the bundle's address: nothing, a page for people, something else. */
function absenceCure({ folder, files }: BundleAddress): string {
  if (files) return ` ${FILES_CURE}`;
  const { hostname, pathname } = new URL(folder!);
  // A name on the Hugging Face Hub looks like a path relative to the page.
  const hub = hostname === "huggingface.co" || hostname === "hf.co" || /\/(@cf\/)?[\w.-]+\/[\w.-]*(llava|vlm|llama)[\w.-]*\/$/i.test(pathname);
  if (!hub) return "";
  return " If a model of the Hugging Face Hub is meant: llava-convert makes a bundle of it first, whose address on a web host is to be given.";
}
