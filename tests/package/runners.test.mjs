// The tarball under the runners of tests that pages are tested with, in Node and with a DOM.
import { test } from "node:test";
import { install, shell } from "./setup.mjs";

const RUNNERS = {
  "Vitest 3": ["vitest", "vitest run"],
  // Jest takes ES modules with that flag only.
  "Jest 30": ["jest", "NODE_OPTIONS=--experimental-vm-modules jest --ci"],
};

for (const [name, [folder, command]] of Object.entries(RUNNERS)) test(name, async () => console.log(await shell(command, await install(folder))));
