// As a user tests what a page does with answers, in each environment.
import { caption, LlavaError, load } from "llava-web";
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";

const PICTURE = "node_modules/llava-web/demo/samples/scenes-6.jpg";

test("a picture is described", async () => {
  expect(await caption(PICTURE)).toMatch(/circle/);
});

test("a model answers, streams and stops", async () => {
  const model = await load();
  const bytes = await readFile(PICTURE);
  const pieces = [];
  for await (const piece of model.stream(bytes)) pieces.push(piece);
  expect(pieces.join("")).toBe(await model.caption(new Blob([bytes])));
  const stop = new AbortController();
  await expect(model.caption(bytes, "What is it?", { signal: stop.signal, onToken: () => stop.abort() })).rejects.toMatchObject({ code: "aborted" });
  model.dispose();
});

test("an error is one of the package's", async () => {
  const error = await caption("none.png").catch((error) => error);
  expect(error).toBeInstanceOf(LlavaError);
  expect(error.code).toBe("bad_image");
});
