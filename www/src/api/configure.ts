import { LlavaError } from "../basics/errors.js";
import { ASSET_OPTIONS, checkAssets, isAddress, wrong, type Assets } from "../engine/assets.js";
import { CHOICES, type DeviceChoice } from "../engine/choice.js";
import { asOptions } from "./options.js";

/** What holds for every later call of this page. */
export interface Configuration extends Assets {
  /** What models run on, as in `load`. */
  device?: DeviceChoice;
  /** The URL of the folder of the default model's files: `dist/llava-web/model/` of the package. */
  model?: string | URL;
  /**
   * Milliseconds after which a model of `caption()` that nobody asked anything is freed; the next call loads it again, from
   * the store. It is kept where this is absent.
   */
  idle_timeout?: number;
}

const KNOWN = ["device", ...ASSET_OPTIONS, "model", "idle_timeout"];

let current: Configuration = {};

/**
 * Says once where the package's files are, where a bundler does not follow them, and how long models stay. What is left out
 * stays as it was; `undefined` brings back the package's own.
 *
 * @throws LlavaError `invalid_input`, naming the option.
 */
export function configure(options: Configuration): void {
  const given = asOptions(options, "configure", KNOWN);
  const { model, idle_timeout, device } = given;
  checkAssets(given);
  checkDevice(device);
  if (model !== undefined && !isAddress(model)) throw wrong("model", "a URL", "dist/llava-web/model/ of the package, with the default model's files");
  if (idle_timeout !== undefined && !(typeof idle_timeout === "number" && idle_timeout >= 0)) {
    throw new LlavaError("invalid_input", "`idle_timeout` must be a number of milliseconds, 0 or more.");
  }
  current = { ...current, ...given };
}

/** As `configure` has set it. */
export function configuration(): Readonly<Configuration> {
  return current;
}

/** What a model runs on for which a call asks for `asked`. */
export function chosenDevice(asked: DeviceChoice | undefined): DeviceChoice {
  return asked ?? current.device ?? "auto";
}

/** @throws LlavaError `invalid_input` */
export function checkDevice(device: DeviceChoice | undefined): void {
  if (device !== undefined && !CHOICES.includes(device)) throw wrong("device", CHOICES.map((choice) => `"${choice}"`).join(" or "), "what the model runs on");
}
