// The worker: an engine in a thread of its own.
import type { Request } from "./engine/protocol.js";
import { serve } from "./engine/serve.js";

const engine = serve((reply) => self.postMessage(reply));

self.onmessage = ({ data }: MessageEvent<Request>) => engine.receive(data);

// A panic in Rust poisons the engine, and the promise it was behind never settles: only these events tell.
self.addEventListener("error", (event) => {
  event.preventDefault(); // the page is told by a reply, which knows more
  void engine.crash(event.error ?? event.message);
});
self.addEventListener("unhandledrejection", ({ reason }) => engine.crash(reason));
