// A classic script does not know its own address, so it says where the package's files are.
import { configure } from "llava-web";
import "./main.js";

configure({ worker: "static/llava-web/worker.js", wasm: "static/llava-web/engine.wasm", model: "static/llava-web/model/" });
