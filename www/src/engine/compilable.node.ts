// Node compiles an engine at once: a thread that is ended while it compiles what is still coming can take the program with it.

export async function compilable(wasm: Response): Promise<WebAssembly.Module> {
  return new WebAssembly.Module(await wasm.arrayBuffer());
}
