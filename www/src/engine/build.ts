// What scripts/bundle.mjs writes into the bundles. Page, worker and wasm of different builds would misunderstand each other.

/** SHA-256 of engine.wasm, in lower-case hexadecimal. */
declare const LLAVA_WASM_SHA256: string;
/** The package's version. */
declare const LLAVA_VERSION: string;

export const WASM_SHA256 = LLAVA_WASM_SHA256;

/** Names this build: the package's version and the engine's first bytes of hash. */
export const BUILD = `${LLAVA_VERSION}+${WASM_SHA256.slice(0, 12)}`;
