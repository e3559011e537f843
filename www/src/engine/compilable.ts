// How an engine's wasm is compiled: by a browser while it comes.

/** What the engine is started from. */
export function compilable(wasm: Response): Response | Promise<WebAssembly.Module> {
  return wasm;
}
