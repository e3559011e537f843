// An answer as a stream: however many loops read it, each gets all of it, and the model stops when nobody listens any more.
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { TextStream } from "../../www/build/api/stream.js";

/** A model that writes `pieces`, one each turn of the event loop; `stopped` tells after how many it was stopped. */
function start(pieces, failure) {
  const model = { written: 0, stopped: undefined };
  model.stream = new TextStream(async (stop, write) => {
    for (const piece of pieces) {
      await turn();
      if (stop.aborted) {
        model.stopped = model.written;
        throw new Error("stopped");
      }
      write(piece);
      model.written++;
    }
    if (failure) throw failure;
    return { description: pieces.join("") };
  });
  return model;
}

/** What a loop over `stream` sees; `most` pieces, then it is left. */
async function read(stream, most = Infinity) {
  const seen = [];
  for await (const piece of stream) if (seen.push(piece) === most) break;
  return seen;
}

const PIECES = ["a", "b", "c", "d", "e", "f"];

test("two loops at once both see everything, and both end", { timeout: 5000 }, async () => {
  const { stream } = start(PIECES);
  assert.deepEqual(await Promise.all([read(stream), read(stream)]), [PIECES, PIECES]);
  assert.equal((await stream.result).description, "abcdef");
});

test("a loop that begins late, or after the end, sees everything", { timeout: 5000 }, async () => {
  const model = start(PIECES);
  const first = read(model.stream);
  while (model.written < 3) await turn();
  assert.deepEqual(await read(model.stream), PIECES);
  assert.deepEqual(await first, PIECES);
  assert.deepEqual(await read(model.stream), PIECES);
});

test("leaving the only loop stops the model", { timeout: 5000 }, async () => {
  const model = start(PIECES);
  assert.deepEqual(await read(model.stream, 2), ["a", "b"]);
  await assert.rejects(model.stream.result, /stopped/);
  assert.equal(model.stopped, 2);
});

test("leaving one of two loops stops nothing, leaving the other one does", { timeout: 5000 }, async () => {
  const model = start(PIECES);
  const [short, long] = await Promise.all([read(model.stream, 1), read(model.stream, 4)]);
  assert.deepEqual([short, long], [["a"], ["a", "b", "c", "d"]]);
  await assert.rejects(model.stream.result, /stopped/);
  assert.equal(model.stopped, 4);
});

test("a failure ends every loop with it, after what was written", { timeout: 5000 }, async () => {
  const failure = new Error("lost");
  const { stream } = start(["a", "b"], failure);
  const seen = [[], []];
  const loops = seen.map(async (pieces) => {
    for await (const piece of stream) pieces.push(piece);
  });
  for (const loop of loops) await assert.rejects(loop, failure);
  assert.deepEqual(seen, [["a", "b"], ["a", "b"]]);
});
