// A program for Node, whose types know nothing of a page. It is only compiled.
import { caption, load, type ImageInput } from "llava-web";

const pictures: ImageInput[] = ["picture.jpg", new URL("https://example.org/picture.jpg"), new Uint8Array(8), new Blob([])];
// @ts-expect-error a number is no picture
pictures.push(1);

const model = await load(undefined, { device: "cpu" });
for (const picture of pictures) console.log(await model.caption(picture), await caption(picture));
model.dispose();
