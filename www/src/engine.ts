// The engine as a module, for threads that have no Worker. `import * as engine from "llava-web/engine"`
import type { Help, Reply, Request } from "./engine/protocol.js";
import { isCrash, serve } from "./engine/serve.js";

/** The page's hold on an engine that runs in its own thread. @internal */
export interface RunningEngine {
  receive(request: Request): void;
  end(): void;
}

/** What `llava-web/engine` exports; `configure({ engine })` takes it as it is. */
export interface EngineModule {
  /** @internal */
  startEngine(post: (reply: Reply | Help) => void): RunningEngine;
}

/** Starts an engine in this thread. Replies come later, never within `receive`. @internal */
export function startEngine(post: (reply: Reply | Help) => void): RunningEngine {
  const engine = serve(post);
  // Here errors of others come by too; a Rust panic ends in this one.
  const crash = (reason: unknown) => {
    if (isCrash(reason)) engine.crash(reason);
  };
  const onError = ({ error }: ErrorEvent) => crash(error);
  const onRejection = ({ reason }: PromiseRejectionEvent) => crash(reason);
  globalThis.addEventListener("error", onError);
  globalThis.addEventListener("unhandledrejection", onRejection);
  return {
    receive: (request) => queueMicrotask(() => engine.receive(request)),
    end() {
      globalThis.removeEventListener("error", onError);
      globalThis.removeEventListener("unhandledrejection", onRejection);
      engine.end();
    },
  };
}
