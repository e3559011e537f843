// The browsers that the tests run in: LLAVA_BROWSER names one of them.
import { readlink } from "node:fs/promises";
import { join } from "node:path";
import * as chromium from "../../www/scripts/browser.mjs";
import * as firefox from "../firefox/driver.mjs";

/** `launchProfile(folder, options)` starts it on the profile in that folder; `kill` ends what runs on it without a farewell. */
const BROWSERS = {
  chromium: {
    launchProfile: chromium.launchProfile,
    async kill(context, profile) {
      const closed = new Promise((resolve) => context.once("close", resolve));
      // The link's target ends with the process id.
      const pid = Number((await readlink(join(profile, "SingletonLock"))).split("-").at(-1));
      process.kill(pid, "SIGKILL");
      await closed;
    },
  },
  firefox: {
    launchProfile: firefox.launchProfile,
    kill: (context) => context.kill(),
  },
};

/** The one that is asked for. */
export const BROWSER = process.env.LLAVA_BROWSER || "chromium";
if (!BROWSERS[BROWSER]) throw new Error(`LLAVA_BROWSER: no browser ${BROWSER}, there are ${Object.keys(BROWSERS).join(", ")}`);

export const { launchProfile, kill } = BROWSERS[BROWSER];
