// Describes a picture for the page that asks. Service workers may not import later, so the engine is imported here.
import { caption, configure } from "../node_modules/llava-web/dist/index.js";
import * as engine from "../node_modules/llava-web/dist/llava-web/engine.js";

onmessage = async ({ source, data: { engineGiven } }) => {
  if (engineGiven) configure({ engine });
  source.postMessage(await caption("../samples/scenes-6.jpg").catch((error) => `${error.name} ${error.code}: ${error.message}`));
};
