// A worker that helps the engine for CPUs.
import { help } from "./engine/help.js";

self.onmessage = ({ data }: MessageEvent) => help(data, () => self.postMessage("ready"));
