// What a visitor can do about an error, by its code. The error's own message is written for developers.

/**
 * @typedef {{ name: "Chromium" | "Firefox" | "Safari" | "", version: number, system: "Android" | "iOS" | "Linux" | "macOS" | "Windows" | "" }} Browser
 *
 * @typedef {object} Circumstances
 * @property {Browser} browser
 * @property {boolean} webgpu whether the browser has WebGPU at all, with a GPU for it or not
 * @property {boolean} ownModel whether the visitor has given a model's address
 * @property {string} [file] name of the file that was chosen
 *
 * @typedef {{ title: string, cure: string }} Advice
 */

const ELSEWHERE = "It works in Chrome and Edge on Windows, Mac and Android, in Safari 26, and in Firefox on Windows and on Macs with Apple's own chips.";
const NO_CHIP =
  "It finds no graphics chip that it may use. Switch on graphics acceleration in the browser's settings, update the graphics driver " +
  "and start the browser again, or open this page on another device.";
const TO_THE_OWNER = "That is this site's fault: try again later, or tell whoever runs it.";
const CHECK_THE_ADDRESS = "Check the address under “Another model”, or empty it to use the built-in model.";

/** @param {{ userAgent: string, maxTouchPoints?: number }} navigator @returns {Browser} */
export function browserOf({ userAgent, maxTouchPoints = 0 }) {
  /** @type {[Browser["system"], RegExp][]} */
  const systems = [["Android", /Android/], ["iOS", /iPhone|iPad|iPod/], ["Windows", /Windows/], ["macOS", /Macintosh/], ["Linux", /Linux/]];
  /** @type {[Browser["name"], RegExp][]} */
  const names = [["Firefox", /Firefox\/(\d+)/], ["Chromium", /Chrom(?:e|ium)\/(\d+)/], ["Safari", /Version\/(\d+).*Safari\//]];
  const system = systems.find(([, pattern]) => pattern.test(userAgent))?.[0] ?? "";
  const [name, pattern] = names.find(([, pattern]) => pattern.test(userAgent)) ?? ["", /$/];
  const version = Number(pattern.exec(userAgent)?.[1] ?? 0);
  // An iPad says that it is a Mac, which has no touch screen.
  return { name, version, system: system === "macOS" && maxTouchPoints > 1 ? "iOS" : system };
}

/** What to do where there is no WebGPU, or no GPU for it. @param {Circumstances} circumstances */
function withoutWebGpu({ browser: { name, version, system }, webgpu }) {
  if (name === "Chromium" && system === "Linux") return `On Linux, browsers can do it with some graphics chips only. ${ELSEWHERE}`;
  if (webgpu) return NO_CHIP;
  if (system === "iOS") return "On an iPhone or iPad it takes iOS or iPadOS 26: update it in the Settings, or open this page on a computer.";
  if (name === "Safari") return "Safari can do it from version 26, on macOS 26: update macOS, or open this page in Chrome or Edge.";
  if (name === "Firefox" && system === "Android") return "Firefox on Android cannot do it yet: open this page in Chrome.";
  if (name === "Firefox" && system === "Linux") {
    return "Firefox on Linux cannot do it yet: open this page in Chrome, which can with some graphics chips, or on another device.";
  }
  if (name === "Firefox" && system === "Windows" && version < 141) return "Firefox can do it from version 141: update it, or open this page in Chrome or Edge.";
  if (name === "Firefox" && system === "macOS") return "Firefox can do it from version 145, on Macs with Apple's own chips: update it, or open this page in Chrome or Edge.";
  if (name === "Chromium" && version < (system === "Android" ? 121 : 113)) return `This browser is too old: update it. ${ELSEWHERE}`;
  if (name === "Chromium" && system === "Android") return "It takes Android 12 and a device of the last few years: update this one, or open this page on another.";
  return name === "Chromium" ? NO_CHIP : ELSEWHERE;
}

/** @param {Circumstances} circumstances */
function unreadable({ file = "" }) {
  const name = file ? `“${file}”` : "This";
  if (/\.hei[cf]$/i.test(file)) {
    return {
      title: `${name} cannot be read in this browser.`,
      cure: "It is a HEIC photograph. Save or share it as a JPEG and choose that; Safari can read it as it is.",
    };
  }
  return { title: `${name} is not a picture that can be read.`, cure: "Choose a photograph or a drawing: JPEG, PNG, WebP and GIF always work." };
}

/** @param {Circumstances} circumstances */
function damaged({ ownModel }) {
  if (ownModel) return { title: "What lies at this address is no model for this page, or a damaged one.", cure: CHECK_THE_ADDRESS };
  return { title: "The model's files are damaged.", cure: TO_THE_OWNER };
}

/** @type {Record<string, (circumstances: Circumstances) => Advice>} */
const ADVICE = {
  missing_input: () => ({ title: "There is no picture yet.", cure: "Choose a file, press a sample or draw something." }),
  invalid_input: () => ({ title: "The question cannot be asked like this.", cure: "Make it shorter, or ask something else." }),
  bad_image: unreadable,
  not_a_file: () => ({
    title: "Only files can be dropped here.",
    cure: "Copy the picture there and paste it here, or save it and drop the file.",
  }),
  too_large: () => ({ title: "This picture is too large.", cure: "It may have 64 MB and 64 megapixels: scale it down, or choose another." }),
  webgpu_unavailable: (circumstances) => ({ title: "This browser cannot run the model.", cure: withoutWebGpu(circumstances) }),
  insecure_context: () => ({
    title: "This page was not opened securely.",
    cure: "Browsers run the model only on pages whose address begins with https://. Open this page under such an address.",
  }),
  gpu: () => ({
    title: "The graphics chip cannot do this.",
    cure: "It is out of memory, too small for this model, or was taken away. Close other tabs and programs that use it and ask again, or take a smaller model.",
  }),
  network: () => ({ title: "The connection failed.", cure: "Check it, then ask again: what has arrived of the model is kept." }),
  no_such_model: ({ ownModel }) => ({
    title: ownModel ? "There is no model at this address." : "The model is missing.",
    cure: ownModel ? CHECK_THE_ADDRESS : TO_THE_OWNER,
  }),
  unsupported_model: () => ({ title: "This kind of model does not run here.", cure: CHECK_THE_ADDRESS }),
  bad_bundle: damaged,
  bad_tokenizer: damaged,
  quota_exceeded: () => ({
    title: "There is no room to keep the model.",
    cure: "It runs all the same, and is fetched again on the next visit. Delete stored models below, or free some space on this device.",
  }),
  storage: () => ({ title: "The browser does not keep the model as it should.", cure: "It runs all the same; what is missing is fetched again." }),
  low_memory: () => ({
    title: "This device may have too little memory for the model.",
    cure: "If this page ends by itself, close other tabs and programs, or take a smaller model.",
  }),
  engine_failed: () => ({ title: "The model's program stopped.", cure: "Ask again; if that does not help, reload this page." }),
};

/** Of a load that goes on all the same. @type {typeof ADVICE} */
const WARNINGS = {
  ...ADVICE,
  gpu: () => ({ title: "The graphics chip was lost for a moment, or out of memory.", cure: "The model is loaded again, and the answer goes on." }),
  network: () => ({ title: "The model's server cannot be reached.", cure: "The copy that is stored in this browser is used." }),
};

/**
 * @param {{ code?: string }} error
 * @param {Circumstances} circumstances
 * @param {boolean} [goesOn] whether this is only a warning
 * @returns {Advice}
 */
export function advice({ code = "" }, circumstances, goesOn = false) {
  const known = (goesOn ? WARNINGS : ADVICE)[code];
  return known?.(circumstances) ?? { title: "Something went wrong.", cure: "Ask again; if that does not help, reload this page." };
}
