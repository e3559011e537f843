// What a user of the package writes.
import { caption } from "llava-web";

const [button, output] = [document.querySelector("button"), document.querySelector("output")];
button.onclick = async () => {
  output.textContent = await caption("samples/scenes-6.jpg").catch((error) => `${error.name} ${error.code}: ${error.message}`);
};
button.disabled = false;
