// Rendered on the server, where the package answers too.
import { caption } from "llava-web";

export default async function Page() {
  return <output>{await caption("public/samples/scenes-6.jpg").catch((error) => `${error.name} ${error.code}: ${error.message}`)}</output>;
}
