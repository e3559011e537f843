// What a visitor can do about an error, by its code. The error's own message is written for developers.

/**
 * @typedef {object} Circumstances
 * @property {boolean} ownModel whether the visitor has given a model's address
 * @property {string} [file] name of the file that was chosen
 *
 * @typedef {{ title: string, cure: string }} Advice
 */

const TO_THE_OWNER = "That is this site's fault: try again later, or tell whoever runs it.";
const CHECK_THE_ADDRESS = "Check the address under “Another model”, or empty it to use the built-in model.";

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
  webgpu_unavailable: () => ({ title: "There is no graphics chip for the model.", cure: "Update the graphics driver and the browser, or open this page on another device." }),
  model_too_large: () => ({
    title: "The model is too large for this browser.",
    cure: "Without a graphics chip a page has room for some 4 GB: take a smaller model, or open this page on a device with one.",
  }),
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
  webgpu_unavailable: () => ({
    title: "The model runs on the processor.",
    cure: "This browser offers no graphics chip; with one, large models answer sooner.",
  }),
  gpu: () => ({
    title: "The graphics chip was lost for a moment, out of memory, or not up to it.",
    cure: "The model is loaded again, if need be on the processor, and the answer goes on.",
  }),
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
