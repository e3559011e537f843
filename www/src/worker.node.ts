// The worker in Node: an engine in a thread of its own.
import process from "node:process";
import { parentPort } from "node:worker_threads";
import type { Request } from "./engine/protocol.js";
import { serve } from "./engine/serve.js";

const page = parentPort!;
const engine = serve((reply) => page.postMessage(reply));

page.on("message", (request: Request) => engine.receive(request));

// A panic in Rust poisons the engine, and the promise it was behind never settles: only these events tell.
process.on("uncaughtException", (error: unknown) => void engine.crash(error));
process.on("unhandledRejection", (reason: unknown) => void engine.crash(reason));
