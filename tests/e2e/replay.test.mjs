// What is told of an answer that is given again.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Replay } from "../../www/build/engine/replay.js";

/** What is told of the tries of one answer, each a list of pieces; ends at the first that is refused. */
function tell(...tries) {
  const told = [];
  const replay = new Replay((piece, tokens) => told.push([piece, tokens]));
  for (const pieces of tries) {
    replay.restart();
    for (const [index, piece] of pieces.entries()) if (!replay.take(piece, index + 1)) return { told, refused: piece };
  }
  return { told, caughtUp: replay.caughtUp };
}

test("an answer is told as it comes, but for pieces without text", () => {
  assert.deepEqual(tell(["", "a ", "", "b"]), { told: [["a ", 2], ["b", 4]], caughtUp: true });
});

test("given again, only what is new is told, wherever the pieces are cut", () => {
  assert.deepEqual(tell(["a ", "b "], ["a", " b c", " d"]).told, [["a ", 1], ["b ", 2], ["c", 2], [" d", 3]]);
  assert.deepEqual(tell(["a ", "b "], ["a "], ["a b ", "c"]).told, [["a ", 1], ["b ", 2], ["c", 2]]);
});

test("another answer is refused at its first difference, and nothing of it is told", () => {
  assert.deepEqual(tell(["a ", "b "], ["a ", "c ", "d"]), { told: [["a ", 1], ["b ", 2]], refused: "c " });
  assert.deepEqual(tell(["a ", "b "], ["a c d"]), { told: [["a ", 1], ["b ", 2]], refused: "a c d" });
});

test("an answer that ends before what was told is not caught up", () => {
  assert.equal(tell(["a ", "b "], ["a "]).caughtUp, false);
});
