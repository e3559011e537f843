// The command `llava-web`, run by npx from the tarball in an empty folder.
import assert from "node:assert/strict";
import { copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { APP, freshFolder, MODEL, PICTURE, QUESTION, readModel, ROOT, run, SAID, serveBundles, storedHashes } from "./support.mjs";

let cache, host;
before(async () => {
  cache = await freshFolder();
  host = await serveBundles({ model: await readModel() });
  await copyFile(PICTURE, join(APP, "picture.png"));
});
after(() => host.close());

const command = (...args) => run("npx", ["llava-web", ...args], { cache });

test("prints the answer, and nothing else", async () => {
  assert.deepEqual(await command("picture.png", QUESTION), { code: 0, stdout: `${SAID}\n`, stderr: "" });
  assert.deepEqual(await command("picture.png"), { code: 0, stdout: `${SAID}\n`, stderr: "" });
});

test("npx runs the tarball in an empty folder", async () => {
  const folder = await freshFolder();
  await copyFile(PICTURE, join(folder, "picture.png"));
  const { code, stdout, stderr } = await run("npx", ["--yes", "--offline", "--package", process.env.LLAVA_TARBALL, "llava-web", "picture.png", QUESTION], { cwd: folder, cache });
  assert.deepEqual([code, stdout], [0, `${SAID}\n`], stderr);
});

test("--json prints the whole answer", async () => {
  const { code, stdout } = await command("picture.png", "What colour is the heart?", "--json");
  const answer = JSON.parse(stdout);
  assert.equal(code, 0);
  assert.match(answer.description, /blue/);
  assert.deepEqual(Object.keys(answer), ["description", "usage", "finish_reason", "token_ids", "token_logprobs", "seed", "timings", "model", "adapter"]);
});

test("--model takes a folder, and an address, which is kept", async () => {
  assert.deepEqual(await command("picture.png", "--model", MODEL), { code: 0, stdout: `${SAID}\n`, stderr: "" });
  assert.deepEqual(await storedHashes(cache), []);
  for (const requests of [true, false]) {
    host.requests = [];
    assert.deepEqual(await command("picture.png", "--model", `${host.origin}/model`), { code: 0, stdout: `${SAID}\n`, stderr: "" });
    assert.equal(host.requests.length > 0, requests);
  }
});

test("on a terminal the answer comes piece by piece, and stderr tells how far the load is", async () => {
  // `script` gives it a terminal for both.
  const line = `node ${join(APP, "node_modules/llava-web/dist/command.js")} picture.png`;
  const { stdout } = await run("script", ["--quiet", "--return", "--command", line, "/dev/null"], { cache });
  assert.match(stdout, /load: \d+ %/);
  assert.equal(stdout.replaceAll(/\r\x1b\[K[^\r]*(?=\r\x1b\[K)/g, "").replaceAll("\r\x1b[K", "").trim(), SAID);
});

test("--precision and --device", async () => {
  assert.deepEqual(await command("picture.png", QUESTION, "--precision", "fast", "--device", "cpu"), { code: 0, stdout: `${SAID}\n`, stderr: "" });
});

test("--help and --version", async () => {
  const { version } = JSON.parse(await readFile(join(ROOT, "www/package.json"), "utf8"));
  assert.deepEqual(await command("--version"), { code: 0, stdout: `${version}\n`, stderr: "" });
  const { code, stdout } = await command("--help");
  assert.equal(code, 0);
  for (const option of ["--model", "--device", "--precision", "--json", "--help", "--version"]) assert.ok(stdout.includes(option), option);
});

test("an answer that cannot be written is told", async () => {
  const line = `node ${join(APP, "node_modules/llava-web/dist/command.js")} picture.png > /dev/full`;
  const { code, stderr } = await run("sh", ["-c", line], { cache });
  assert.deepEqual([code, stderr.match(/^error: .*ENOSPC.* \[io\]\n$/) !== null], [1, true], stderr);
});

describe("what goes wrong is told on stderr, with its code, and the command fails", () => {
  const wrong = {
    "no picture": [[], "invalid_input", /picture is missing.*--help/],
    "too much": [["picture.png", "What", "is", "it?"], "invalid_input", /"is".*quotes/],
    "an option that is not known": [["picture.png", "--modle", "x"], "invalid_input", /--modle/],
    "a precision that is not known": [["picture.png", "--precision", "none"], "invalid_input", /`precision` must be "exact", "half" or "fast"/],
    "a device that is not there": [["picture.png", "--device", "gpu"], "webgpu_unavailable", /./],
    "a picture that is not there": [["none.png"], "bad_image", /none\.png.*no such file/],
    "a file that is no picture": [["package.json"], "bad_image", /PNG, JPEG, WebP or GIF/],
    "a folder without a model": [["picture.png", "--model", "node_modules"], "no_such_model", /manifest\.json/],
    "a host without the model": [["picture.png", "--model", "HOST/none/"], "no_such_model", /no such file/],
  };
  for (const [what, [args, errorCode, message]] of Object.entries(wrong)) {
    test(what, async () => {
      const { code, stdout, stderr } = await command(...args.map((arg) => arg.replace("HOST", host.origin)));
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(stderr, message);
      assert.ok(stderr.startsWith("error: ") && stderr.endsWith(` [${errorCode}]\n`), stderr);
    });
  }
});
