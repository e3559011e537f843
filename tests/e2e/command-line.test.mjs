// The command `caption`: a picture's description on stdout, from headless Chromium.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { ROOT } from "./support.mjs";

const QUESTION = "What is in this picture?";

let folder, picture;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "llava-web-test-"));
  picture = join(folder, "square and circle.png");
  await copyFile(join(ROOT, "tests/held-out/scene-0014.png"), picture);
});
after(() => rm(folder, { recursive: true }));

const caption = (...args) =>
  new Promise((resolve) => {
    execFile(process.execPath, [join(ROOT, "www/scripts/caption.mjs"), ...args], { cwd: folder }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, stdout, stderr }),
    );
  });

test("prints the description", async () => {
  const { code, stdout, stderr } = await caption(picture, QUESTION);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /black circle/);
});

test("--json prints one object; --input sets any field; --model takes a folder", async () => {
  const model = join(ROOT, "models/llava-sketches");
  const { code, stdout, stderr } = await caption(picture, QUESTION, "--json", "--input", '{"max_tokens":2}', "--model", model);
  assert.equal(code, 0, stderr);
  const answer = JSON.parse(stdout);
  assert.deepEqual(Object.keys(answer), ["description", "token_ids", "prompt_tokens", "finish_reason", "timings", "model", "adapter"]);
  assert.equal(answer.token_ids.length, 2);
  assert.deepEqual(Object.keys(answer.timings).sort(), ["decode", "image", "load", "prefill", "tokens_per_second"]);
});

test("--device says what it runs on", async () => {
  for (const [args, adapter] of [[[], /^CPU$/], [["--device", "gpu"], /swiftshader/i]]) {
    const { code, stdout, stderr } = await caption(picture, QUESTION, "--json", ...args);
    assert.equal(code, 0, stderr);
    const answer = JSON.parse(stdout);
    assert.match(answer.adapter, adapter);
    assert.match(answer.description, /black circle/);
  }
  const { code, stderr } = await caption(picture, QUESTION, "--device", "npu");
  assert.equal(code, 1);
  assert.match(stderr, /`device` must be "auto" or "gpu" or "cpu"/);
});

test("--batch prints one object per line, in order, and goes on after an error", async () => {
  const lines = [
    { image: basename(picture), prompt: QUESTION },
    { image: "missing.png" },
    { image: basename(picture), tempreature: 1 },
    { image: picture, prompt: "What is right of the circle?" },
  ];
  const batch = join(folder, "batch.jsonl");
  await writeFile(batch, `${lines.map((line) => JSON.stringify(line)).join("\n")}\n\nnot json\n`);
  const { code, stdout } = await caption("--batch", batch);
  assert.equal(code, 1);
  const answers = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.equal(answers.length, 5);
  assert.match(answers[0].description, /black circle/);
  assert.match(answers[1].error.message, /missing.png/);
  assert.equal(answers[2].error.code, "invalid_input");
  assert.match(answers[3].description, /square/);
  assert.match(answers[4].error.message, /not valid JSON/);
});

test("errors go to stderr, with exit code 1", async () => {
  for (const [args, message] of [
    [[], /which picture/],
    [["missing.png"], /no picture missing.png/],
    [[picture, QUESTION, "--input", "{"], /--input is not valid JSON/],
    [[picture, "--model", "nowhere"], /no folder nowhere/],
    [[picture, "--what"], /--what/],
  ]) {
    const { code, stdout, stderr } = await caption(...args);
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, message);
  }
});
