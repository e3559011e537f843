/** What a thread that helps takes of an engine's wasm. */
interface Exports {
  __wbindgen_start(): void;
  help(): void;
  helper_lost(): void;
}

/**
 * Works for an engine, as a thread beside its own in the same memory, until this thread is ended. Operations call nothing of the page,
 * so that what the wasm imports may be empty here.
 */
export function help({ module, memory }: { module: WebAssembly.Module; memory: WebAssembly.Memory }, onReady: () => void): void {
  const imports: WebAssembly.Imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    (imports[from] ??= {})[name] = kind === "memory" ? memory : () => undefined;
  }
  const engine = new WebAssembly.Instance(module, imports).exports as unknown as Exports;
  engine.__wbindgen_start();
  onReady();
  try {
    engine.help();
  } catch (error) {
    engine.helper_lost(); // or the engine would wait for it
    throw error;
  }
}
