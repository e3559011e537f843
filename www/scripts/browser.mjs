// Chromium with WebGPU, headless, for the caption command and the tests.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
];

const QUIET = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const GPU = ["--enable-unsafe-webgpu", "--enable-features=Vulkan"];
/** SwiftShader, a GPU in software: slow, but the same on every machine, and there on machines without a GPU. */
const SOFTWARE = ["--use-webgpu-adapter=swiftshader", "--use-vulkan=swiftshader"];

/** The browser to run: LLAVA_CHROMIUM, or one in its usual place. */
export function browserPath() {
  const path = process.env.LLAVA_CHROMIUM || PLACES.find((place) => existsSync(place));
  if (!path) throw new Error("no Chromium or Chrome found: install one, or set LLAVA_CHROMIUM to its path");
  return path;
}

/** Flags for `gpu`: "software", "hardware" (this machine's own), "plain" (what a visitor's browser does by itself), or "none" (no WebGPU at all). */
function flags(gpu) {
  if (gpu === "plain") return QUIET;
  if (gpu === "none") return [...QUIET, "--disable-features=WebGPU", "--disable-blink-features=WebGPU"];
  return [...QUIET, ...GPU, ...(gpu === "software" ? SOFTWARE : [])];
}

/** Starts a browser with a profile of its own that is thrown away at the end. */
export function launch({ gpu = "software" } = {}) {
  return chromium.launch({ executablePath: browserPath(), headless: true, args: flags(gpu) });
}

/**
 * Starts a browser on the profile in `folder`, which stays, with the unpacked `extension` if one is given, and further flags in `args`;
 * resolves to its context.
 */
export function launchProfile(folder, { gpu = "software", extension, args = [] } = {}) {
  const loading = extension ? [`--load-extension=${extension}`, `--disable-extensions-except=${extension}`] : [];
  return chromium.launchPersistentContext(folder, { executablePath: browserPath(), headless: true, args: [...flags(gpu), ...loading, ...args] });
}
