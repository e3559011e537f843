// What a program for Node.js is told: each call's outcome, a line of JSON.
import { caption as ofBrowsers } from "./node_modules/llava-web/dist/index.js";
import { availability, caption, createAI, load, LlavaError, models } from "llava-web";

const calls = {
  caption: () => caption("picture.jpg"),
  "what is for browsers": () => ofBrowsers("picture.jpg"),
  load: () => load(),
  availability: () => availability(),
  "models.list": () => models.list(),
  "createAI().run": () => createAI().run("@cf/llava-hf/llava-1.5-7b-hf", { image: [1], prompt: "What?" }),
};
for (const [name, call] of Object.entries(calls)) {
  const outcome = await Promise.resolve()
    .then(call)
    .then((value) => ({ value }), (error) => ({ llava: error instanceof LlavaError, code: error.code, message: error.message }));
  console.log(JSON.stringify({ name, ...outcome }));
}
