// Describes a picture for every page that connects.
import { caption } from "../node_modules/llava-web/dist/index.js";

onconnect = async ({ ports: [port] }) => {
  port.postMessage(await caption("../samples/scenes-6.jpg").catch((error) => `${error.name} ${error.code}: ${error.message}`));
};
