// A bundle of two models: told, loaded, stored and asked as one, and the picture chooses which of them answers.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { assertSound, drawRedCircle, eachWithFreshPage, load, makeBundle, pairOf, readBundle, ROOT } from "./support.mjs";

const QUESTION = "What is in this picture?";
const [q8, q4] = await Promise.all(["llava-sketches", "llava-sketches-q4"].map((name) => readBundle(`${ROOT}models/${name}`)));
const CIRCLES = pairOf(q8, q4, QUESTION, "a red circle");

for (const device of ["cpu", "gpu"]) {
  describe(`on the ${device}`, () => {
    let server, page;
    eachWithFreshPage(CIRCLES, (fresh) => ({ server, page } = fresh), { fake: false, device });

    test("what is told before the download holds, and each picture goes to its model", async () => {
      const url = `${server.origin}/m/`;
      const plan = await page.evaluate((url) => globalThis.llava.availability(url), url);
      assert.deepEqual([plan.name, plan.problems.length], ["llava-sketches + llava-sketches-q4", 0]);
      const bytes = [q8, q4].reduce((sum, { manifest }) => sum + manifest.total_bytes, 0);
      assert.deepEqual([plan.total_bytes, plan.bytes_to_download], [bytes, bytes]);
      const { value, error } = await load(page, url);
      assert.equal(error, undefined, error?.message);
      assert.equal(value.model, plan.name);
      assert.deepEqual([value.memory, value.context_length], [plan.memory, plan.context_length]);
      await page.evaluate(drawRedCircle);
      const told = await page.evaluate(async () => {
        const blue = new OffscreenCanvas(160, 160);
        const context = blue.getContext("2d");
        context.fillStyle = "#ddd";
        context.fillRect(0, 0, 160, 160);
        context.fillStyle = "#2040e0";
        context.fillRect(50, 50, 60, 60);
        const ask = async (image, prompt) => {
          const pieces = [];
          const { model, description } = await globalThis.model.run({ image, prompt }, { onToken: (piece) => pieces.push(piece) });
          return [model, description, pieces.join("")];
        };
        const asked = [];
        for (const image of [globalThis.drawing, blue, globalThis.bytes]) for (const prompt of ["What is in this picture?", "How many things are there?"]) asked.push(await ask(image, prompt));
        return asked;
      });
      assert.deepEqual(told.map(([model]) => model), ["llava-sketches-q4", "llava-sketches-q4", "llava-sketches", "llava-sketches", "llava-sketches-q4", "llava-sketches-q4"]);
      assert.deepEqual(told.map(([, description]) => description), ["a red circle", "one", "a blue square", "one", "a red circle", "one"]);
      for (const [, description, pieces] of told) assert.equal(pieces, description, "of the question that chose nothing is told");
      // The second load asks for nothing.
      await assertSound(page);
      server.requests = [];
      const again = await load(page, url);
      assert.equal(again.error, undefined);
      assert.deepEqual(server.requests, []);
    });
  });
}

describe("files of a second model", () => {
  let server, page;
  const [first, second] = [makeBundle({ name: "first", seeds: [1, 2] }), makeBundle({ name: "second", seeds: [2, 3] })];
  eachWithFreshPage(pairOf(first, second, QUESTION, "x"), (fresh) => ({ server, page } = fresh));

  test("what is wrong with them is named with its place", async () => {
    const edited = async (edit) => {
      const manifest = structuredClone(server.bundles.m.manifest);
      edit(manifest.second);
      server.bundles.m = { ...server.bundles.m, files: new Map([...server.bundles.m.files, ["manifest.json", Buffer.from(JSON.stringify(manifest))]]) };
      return (await load(page, `${server.origin}/m/`)).error;
    };
    for (const [edit, named] of [
      [(second) => delete second.manifest, /second\.manifest.*`format`/],
      [(second) => (second.manifest.chunks[0].bytes = -1), /second\.manifest.*`chunks\[0\]\.bytes`/],
      [(second) => (second.manifest.tokenizer.file = "../../x"), /second\.manifest.*`tokenizer\.file`/],
    ]) {
      const error = await edited(edit);
      assert.equal(error.code, "bad_bundle");
      assert.match(error.message, named);
    }
  });

  test("models.list and delete take both as one, and what both share is stored once", async () => {
    server.fault = (path, _, response) => path === "m/second/tokenizer.json" && (response.writeHead(404).end(), true);
    const failed = await load(page, `${server.origin}/m/`);
    assert.match(failed.error.message, /second\/tokenizer\.json/);
    server.fault = () => false;
    server.bundles.m = { ...server.bundles.m };
    const { error } = await load(page, `${server.origin}/m/`);
    assert.equal(error, undefined, error?.message);
    const listed = await page.evaluate(() => globalThis.llava.models.list());
    assert.deepEqual(listed.map(({ name, bytes, total_bytes }) => [name, bytes === total_bytes]), [["first + second", true]]);
    await page.evaluate((url) => globalThis.llava.models.delete(url), `${server.origin}/m/`);
    assert.deepEqual(await assertSound(page), []);
  });
});
