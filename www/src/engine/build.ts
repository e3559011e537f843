// What scripts/bundle.mjs writes into the bundles. Page, worker and wasm of different builds would misunderstand each other.

import type { DeviceKind } from "../basics/info.js";

/** SHA-256 of the engine for each kind of device, in lower-case hexadecimal. */
declare const LLAVA_WASM_SHA256: Record<DeviceKind, string>;
/** The package's version. */
declare const LLAVA_VERSION: string;

export const VERSION = LLAVA_VERSION;

export const WASM_SHA256 = LLAVA_WASM_SHA256;

/** Names this build: the package's version and the engines' first bytes of hash. */
export const BUILD = `${VERSION}+${Object.values(WASM_SHA256).map((hash) => hash.slice(0, 12)).join("")}`;
