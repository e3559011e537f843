// Rendered on the server, where the package may be imported and says that there is no browser.
import { caption } from "llava-web";

export default async function Page() {
  return <output>{await caption("samples/scenes-2.jpg").catch((error) => `${error.name} ${error.code}`)}</output>;
}
