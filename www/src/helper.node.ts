// The same in Node.
import { parentPort } from "node:worker_threads";
import { help } from "./engine/help.js";

const engine = parentPort!;

engine.on("message", (data: Parameters<typeof help>[0]) => help(data, () => engine.postMessage("ready")));
