// Written by scripts/default-files.mjs.

export const DEFAULT_MANIFEST_SHA256 = "ca68d952de5b821d7e785384650c9d21509ef376545c210768d0a1ca46902b7d";

/** The default model's files by their path in the manifest: name in the package, and address. Bundlers look for exactly this form. */
export const DEFAULT_FILES: Record<string, readonly [name: string, address: () => URL]> = {
  "manifest.json": ["manifest.txt", () => new URL("./llava-web/model/manifest.txt", import.meta.url)],
  "tokenizer.json": ["tokenizer.txt", () => new URL("./llava-web/model/tokenizer.txt", import.meta.url)],
  "chunks/fcb9d5c2704afbee589a1649e9770a53edcdd8ab770ca932c5adc0d25bd88f63.bin": ["chunks/fcb9d5c2704afbee589a1649e9770a53edcdd8ab770ca932c5adc0d25bd88f63.bin", () => new URL("./llava-web/model/chunks/fcb9d5c2704afbee589a1649e9770a53edcdd8ab770ca932c5adc0d25bd88f63.bin", import.meta.url)],
  "chunks/12c3af88acdfd477c902d27cacbf7be7b0671471f1c7d263edac44d7dda1bd61.bin": ["chunks/12c3af88acdfd477c902d27cacbf7be7b0671471f1c7d263edac44d7dda1bd61.bin", () => new URL("./llava-web/model/chunks/12c3af88acdfd477c902d27cacbf7be7b0671471f1c7d263edac44d7dda1bd61.bin", import.meta.url)],
  "chunks/f27d95bd744ca8d204a4a171796d50d071cc62c7b997b95a2b54b8a65e3e9d6b.bin": ["chunks/f27d95bd744ca8d204a4a171796d50d071cc62c7b997b95a2b54b8a65e3e9d6b.bin", () => new URL("./llava-web/model/chunks/f27d95bd744ca8d204a4a171796d50d071cc62c7b997b95a2b54b8a65e3e9d6b.bin", import.meta.url)],
  "chunks/252d9ef0539fe294c75ab2aea1808432b5de143e5cf86c0932ca05e21a098520.bin": ["chunks/252d9ef0539fe294c75ab2aea1808432b5de143e5cf86c0932ca05e21a098520.bin", () => new URL("./llava-web/model/chunks/252d9ef0539fe294c75ab2aea1808432b5de143e5cf86c0932ca05e21a098520.bin", import.meta.url)],
  "chunks/387fd929f5a747c6350f13c5cc7cb7fefb7185443d6d59044fc34fbbd80a6b90.bin": ["chunks/387fd929f5a747c6350f13c5cc7cb7fefb7185443d6d59044fc34fbbd80a6b90.bin", () => new URL("./llava-web/model/chunks/387fd929f5a747c6350f13c5cc7cb7fefb7185443d6d59044fc34fbbd80a6b90.bin", import.meta.url)],
  "chunks/60aedcd5052bfa75b6168cd5f368333d27f997db0ce48effb79ea088f3013094.bin": ["chunks/60aedcd5052bfa75b6168cd5f368333d27f997db0ce48effb79ea088f3013094.bin", () => new URL("./llava-web/model/chunks/60aedcd5052bfa75b6168cd5f368333d27f997db0ce48effb79ea088f3013094.bin", import.meta.url)],
};
