// A document without a window that describes pictures for the extension's service worker.
import { caption } from "llava-web";

chrome.runtime.onMessage.addListener(({ to }, _sender, answer) => {
  if (to !== "offscreen") return false;
  caption("samples/scenes-6.jpg").then(answer, (error) => answer(`${error.name} ${error.code}: ${error.message}`));
  return true; // the answer comes later
});
