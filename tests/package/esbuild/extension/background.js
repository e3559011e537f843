// The extension's service worker: describes pictures itself, or lets the offscreen document do it.
import { caption, configure } from "llava-web";
import * as engine from "llava-web/engine";

configure({ engine });

const ways = {
  here: () => caption("samples/scenes-6.jpg"),
  async offscreen() {
    await chrome.offscreen.createDocument({ url: "offscreen.html", reasons: ["WORKERS"], justification: "describes pictures" });
    return chrome.runtime.sendMessage({ to: "offscreen" });
  },
};

chrome.runtime.onMessage.addListener(({ to, way }, _sender, answer) => {
  if (to !== "background") return false;
  ways[way]().then(answer, (error) => answer(`${error.name} ${error.code}: ${error.message}`));
  return true; // the answer comes later
});
