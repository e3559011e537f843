// Pictures and questions in Node, by the packed package: answers, every kind of picture, errors, abort.
import assert from "node:assert/strict";
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { serveFiles, start } from "../../www/scripts/serve.mjs";
import { APP, freshFolder, importPackage, MODEL, PICTURE, QUESTION, ROOT, run, runProgram, SAID } from "./support.mjs";

const HELD_OUT = join(ROOT, "tests/held-out");

let llava, model, bytes;
before(async () => {
  process.env.LLAVA_WEB_CACHE = await freshFolder();
  llava = await importPackage();
  model = await llava.load();
  bytes = await readFile(PICTURE);
});

test("held-out pictures are answered as by the native build", async () => {
  const cases = (await readFile(join(HELD_OUT, "cases.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line));
  const others = [];
  // What is said of photographs there is what the model of drawings says.
  for (const { image, prompt, said } of cases.filter(({ set }) => set !== "photographs")) {
    const answer = await model.caption(join(HELD_OUT, image), prompt, { max_tokens: 40 });
    if (answer !== said) others.push(`${image}: ${answer}, not ${said}`);
  }
  // Where two answers are nearly as likely, rounding decides.
  assert.ok(cases.length > 50 && others.length <= 2, others.join("\n"));
});

test("photographs are answered by the model that knows them", async () => {
  const samples = join(ROOT, "www/demo/samples");
  const photographs = JSON.parse(await readFile(join(samples, "index.json"), "utf8")).filter(({ file }) => file.startsWith("photographs"));
  assert.ok(photographs.length > 2);
  for (const { file, title } of photographs) {
    const { description, model: answered } = await model.run({ image: join(samples, file), prompt: QUESTION });
    assert.equal(answered, "llava-photos");
    assert.ok(description.includes(title.includes("should not know") ? "don't know" : title), `${file}: ${description}, not ${title}`);
  }
});

test("the answer has usage, tokens and timings, and the model says where it runs", async () => {
  const { description, usage, finish_reason, token_ids, timings, adapter } = await model.run({ image: PICTURE, prompt: QUESTION });
  assert.deepEqual([description, finish_reason, adapter], [SAID, "stop", "CPU"]);
  assert.equal(usage.completion_tokens, token_ids.length);
  for (const field of ["load", "image", "prefill", "decode", "tokens_per_second"]) assert.ok(timings[field] >= 0, field);
  assert.deepEqual([model.info.device, model.info.url], ["cpu", llava.DEFAULT_MODEL]);
});

test("a stream's pieces make up the answer", async () => {
  const pieces = [];
  for await (const piece of model.stream(bytes, QUESTION)) pieces.push(piece);
  assert.ok(pieces.length > 1);
  assert.equal(pieces.join(""), SAID);
});

describe("kinds of pictures", () => {
  const kinds = {
    "a Buffer": () => bytes,
    "a Uint8Array": () => new Uint8Array(bytes),
    "an ArrayBuffer": () => new Uint8Array(bytes).buffer,
    "a list of bytes": () => [...bytes],
    "a Blob": () => new Blob([bytes]),
    "a File": () => (globalThis.File ? new File([bytes], "picture.png") : new Blob([bytes], { type: "image/png" })),
    "an absolute path": () => PICTURE,
    "a relative path": () => relative(process.cwd(), PICTURE),
    "a file: URL": () => pathToFileURL(PICTURE),
    "a file: URL as a text": () => pathToFileURL(PICTURE).href,
    "a data: URL": () => `data:image/png;base64,${bytes.toString("base64")}`,
    base64: () => bytes.toString("base64"),
    "a binary string": () => bytes.toString("latin1"),
  };
  for (const [kind, make] of Object.entries(kinds)) test(kind, async () => assert.equal(await model.caption(make(), QUESTION), SAID));

  test("a path that begins like base64", async () => {
    const path = join(`R0lGODlh${"a".repeat(70)}`, "picture.png");
    await mkdir(join(APP, dirname(path)));
    await copyFile(PICTURE, join(APP, path));
    assert.equal(await runProgram(`import { caption } from "llava-web"; console.log(JSON.stringify(await caption(${JSON.stringify(path)})));`), SAID);
  });

  test("an http: URL", async () => {
    const host = await start({ handler: serveFiles({ "/": HELD_OUT }) });
    try {
      assert.equal(await model.caption(`${host.origin}/scene-0010.png`, QUESTION), SAID);
      await assert.rejects(model.caption(`${host.origin}/none.png`), { code: "bad_image", message: /no such file/ });
    } finally {
      await host.close();
    }
  });

  test("a server that takes the question and never answers is given up", async (t) => {
    const host = await start({ handler: () => undefined });
    try {
      t.mock.timers.enable({ apis: ["setTimeout"] });
      const answer = assert.rejects(model.caption(`${host.origin}/silent.png`, QUESTION), { code: "network", message: /silent\.png sent nothing for 30 s/ });
      t.mock.timers.tick(30_000);
      await answer;
    } finally {
      t.mock.timers.reset();
      await host.close();
    }
  });

  test("the caller's bytes are left as they were", async () => {
    const given = new Uint8Array(bytes);
    await model.caption(given.buffer, QUESTION);
    assert.deepEqual(Buffer.from(given), bytes);
  });
});

describe("errors", () => {
  const formats = /PNG, JPEG, WebP or GIF/;
  const pictures = {
    "a format that only browsers decode": [() => join(ROOT, "tests/e2e/pictures/red.avif"), "bad_image", new RegExp(`AVIF.*${formats.source}`)],
    "an icon": [() => join(ROOT, "tests/e2e/pictures/red.ico"), "bad_image", new RegExp(`ICO.*${formats.source}`)],
    "an SVG": [() => '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>', "bad_image", new RegExp(`SVG.*${formats.source}`)],
    "a JPEG that the engine does not decode": [() => join(ROOT, "tests/e2e/pictures/arithmetic.jpg"), "bad_image", formats],
    "a text": [() => Buffer.from("hello I am text"), "bad_image", new RegExp(`"hello I am text", and no ${formats.source}`)],
    "a web page": [() => Buffer.from("<!doctype html><title>no</title>"), "bad_image", /an HTML file, and no picture/],
    "a file that is cut off": [() => bytes.subarray(0, bytes.length / 2), "bad_image", /./],
    "a path where nothing is": [() => "no/such/picture.png", "bad_image", /no such file/],
    "a folder": [() => APP, "io", /it is a folder/],
    "no bytes": [() => new Uint8Array(), "bad_image", /empty/],
    "something else": [() => ({ width: 1 }), "bad_image", /not a kind of picture/],
    "a host that is not there": [() => "http://localhost:1/a.png", "network", /cannot be fetched\. Check the address\.$/],
  };
  for (const [what, [make, code, message]] of Object.entries(pictures)) {
    test(what, async () => assert.rejects(model.caption(make(), QUESTION), (error) => error instanceof llava.LlavaError && error.code === code && message.test(error.message)));
  }

  const calls = {
    "an option that is not known": [() => model.caption(bytes, QUESTION, { tempreature: 1 }), "invalid_input", /tempreature/],
    "a GPU": [() => llava.load(undefined, { device: "gpu" }), "webgpu_unavailable", /Node\.js has no WebGPU/],
    "a folder without a model": [() => llava.load(HELD_OUT), "no_such_model", /manifest\.json/],
    "a name of the Hub": [() => llava.load("llava-hf/llava-1.5-7b-hf"), "no_such_model", /llava-convert/],
    "an address that is none": [() => llava.load("http://"), "invalid_input", /valid/],
    "a host of models that is not there": [() => llava.load("http://localhost:1/model/", { signal: AbortSignal.timeout(1500) }), "aborted", /./],
  };
  for (const [what, [call, code, message]] of Object.entries(calls)) test(what, async () => assert.rejects(call(), { code, message }));

  test("package files that are not there are told with what to do", async () => {
    const address = "file:///_next/static/media/file";
    for (const [options, code] of [[{ wasm: address }, "engine_failed"], [{ wasm: { cpu: address } }, "engine_failed"], [{ model: address }, "no_such_model"]]) {
      llava.configure(options);
      const [option] = Object.keys(options);
      await assert.rejects(llava.load(), { code, message: /serverExternalPackages.*configure/ }, option);
      llava.configure({ [option]: undefined });
    }
  });
});

describe("abort", () => {
  test("stops an answer, and the next one comes", async () => {
    const stop = new AbortController();
    const options = { signal: stop.signal, onToken: () => stop.abort("enough") };
    await assert.rejects(model.caption(bytes, QUESTION, options), { code: "aborted", name: "AbortError", cause: "enough" });
    assert.equal(await model.caption(bytes, QUESTION), SAID);
  });

  test("while the picture is read stops nothing else, at whatever moment", async () => {
    const picture = PICTURE;
    const moments = { "at once": (stop) => stop(), "in this turn": (stop) => process.nextTick(stop), "in the next": (stop) => setImmediate(stop) };
    for (const [when, schedule] of Object.entries(moments)) {
      for (let round = 0; round < 10; round++) {
        const stop = new AbortController();
        const answer = model.caption(picture, QUESTION, { signal: stop.signal });
        schedule(() => stop.abort());
        await assert.rejects(answer, { code: "aborted" }, when);
      }
    }
    assert.equal(await model.caption(picture, QUESTION), SAID);
  });

  test("stops a load", async () => {
    const stop = new AbortController();
    await assert.rejects(llava.load(undefined, { signal: stop.signal, onProgress: () => stop.abort() }), { code: "aborted" });
  });

  test("disposing rejects what runs", async () => {
    const other = await llava.load(MODEL);
    const answer = other.caption(bytes, QUESTION);
    other.dispose();
    await assert.rejects(answer, { code: "disposed" });
    assert.ok(other.ended);
  });
});

test("the caller's thread is free while a model answers", async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const begun = performance.now();
  await model.caption(bytes, "Is there a heart, and what is beside it?");
  clearInterval(timer);
  const expected = performance.now() - begun;
  assert.ok(turns > expected / 20, `${turns} turns in ${expected} ms`);
});

test("availability tells what a load would take, and nothing to fetch of what is on this machine", async () => {
  const { available, problems, device, adapter, bytes_to_download, memory } = await llava.availability();
  assert.deepEqual({ available, problems, device, adapter, bytes_to_download }, { available: true, problems: [], device: "cpu", adapter: "CPU", bytes_to_download: 0 });
  assert.ok(memory.total > 0);
});

describe("a program", () => {
  const source = `import { caption } from "llava-web"; console.log(JSON.stringify(await caption(${JSON.stringify(PICTURE)}, ${JSON.stringify(QUESTION)})));`;

  test("ends by itself when it has its answer, with the model still there", async () => assert.equal(await runProgram(source), SAID));

  test("does not wait for an idle model to be freed", async () => {
    const began = performance.now();
    assert.equal(await runProgram(`import { configure } from "llava-web"; configure({ idle_timeout: 60_000 }); ${source}`), SAID);
    assert.ok(performance.now() - began < 30_000);
  });

  test("may be given on the command line", async () => {
    const { code, stdout, stderr } = await run(process.execPath, ["--input-type=module", "--eval", source]);
    assert.deepEqual([code, stdout, stderr], [0, `"${SAID}"\n`, ""]);
  });

  test("importing does nothing", async () => {
    const cache = join(await freshFolder(), "none");
    const source = `import "llava-web"; import { existsSync } from "node:fs";
      console.log(JSON.stringify([existsSync(process.env.LLAVA_WEB_CACHE), process.getActiveResourcesInfo().filter((name) => /Worker|Port/.test(name))]));`;
    assert.deepEqual(await runProgram(source, { cache }), [false, []]);
  });

  test("has no dependency of the package to install", async () => {
    const { dependencies, optionalDependencies, peerDependencies } = JSON.parse(await readFile(join(APP, "node_modules/llava-web/package.json"), "utf8"));
    assert.deepEqual([dependencies, optionalDependencies, peerDependencies], [undefined, undefined, undefined]);
  });
});
