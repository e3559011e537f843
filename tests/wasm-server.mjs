// wasm-bindgen's runner of tests as a server of their page, for the runners of cargo that open it in what that runner does not know.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** For all tests together, in ms. */
export const LONGEST_RUN = 20 * 60_000;

/** What the page writes at the end: whether all is well. */
export const resultIn = (output) => output.match(/^test result: (\w+)\..*\n/m)?.[1];

/** Serves the tests that cargo's arguments name; `address` settles when the server says where they are. */
export function serveTests(args) {
  const server = spawn("wasm-bindgen-test-runner", args, {
    env: { ...process.env, NO_HEADLESS: "1", WASM_BINDGEN_TEST_ADDRESS: "127.0.0.1:0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const address = new Promise((done, fail) => {
    server.once("error", fail);
    server.once("close", (code) => fail(new Error(`wasm-bindgen-test-runner ended with ${code}`)));
    createInterface(server.stdout).on("line", (line) => {
      const [address] = line.match(/http:\S+/) ?? [];
      if (address) done(address);
    });
  });
  return { address, stop: () => server.kill() };
}
