// Node's thread for an engine: a worker whose script lies in the page's own, so that no bundler can lose it.
import process from "node:process";
import { Worker } from "node:worker_threads";
import { script } from "llava-web:worker";
import { LlavaError } from "../basics/errors.js";
import type { Assets } from "./assets.js";
import type { Reply, Thread, ThreadEvents } from "./protocol.js";

/** Starts an engine. What `configure` says of workers is for browsers. */
export async function openThread(_assets: Assets, { onReply, onFailure }: ThreadEvents): Promise<Thread> {
  // Flags of the program's (another kind of input, loaders) are not meant for the script.
  const worker = new Worker(script, { eval: true, execArgv: [], env: process.env });
  const failed = (why: string, cause?: unknown) =>
    onFailure(new LlavaError("engine_failed", `The engine's thread ${why}. Load the model again.`, { cause }));
  // The program may end while a model is loaded, not while one is at work.
  const running = new Set<number>();
  const hold = () => (running.size > 0 ? worker.ref() : worker.unref());
  hold();
  worker.on("message", (reply: Reply) => {
    if (reply.type === "done" || reply.type === "failed") running.delete(reply.id);
    else if (!("id" in reply)) running.clear();
    hold();
    onReply(reply);
  });
  worker.on("error", (error: Error) => failed(`failed: ${error.message}`, error));
  worker.on("exit", () => failed("has ended"));
  return {
    post(request) {
      if (request.type === "load" || request.type === "generate") running.add(request.id);
      hold();
      worker.postMessage(request);
    },
    end: () => void worker.terminate(),
  };
}
