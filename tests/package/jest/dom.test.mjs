/**
 * What a page does with a file that its visitor has chosen. As it has a DOM, Jest would take what is for browsers.
 *
 * @jest-environment jsdom
 * @jest-environment-options { "customExportConditions": ["node"] }
 */
import { caption } from "llava-web";
import { readFile } from "node:fs/promises";

test("a chosen file is described", async () => {
  const bytes = await readFile("node_modules/llava-web/demo/samples/scenes-6.jpg");
  document.body.innerHTML = "<output></output>";
  const output = document.querySelector("output");
  output.textContent = await caption(new File([bytes], "picture.jpg"));
  expect(output.textContent).toMatch(/circle/);
});
