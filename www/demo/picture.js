// The picture: a file that is chosen, dropped or pasted, a sample, or what is on the drawing board.
import { drawingBoard } from "./draw.js";
import { element, part } from "./page.js";

/**
 * @param {object} hooks
 * @param {() => void} hooks.onChoose a picture was chosen, as a whole
 * @param {() => void} hooks.onChange another picture is shown, or the drawing has changed
 * @param {(problem: import("./problems.js").Problem) => void} hooks.onRefuse what was chosen is no picture
 */
export function picturePanel({ onChoose, onChange, onRefuse }) {
  /** @type {HTMLInputElement} */
  const file = part("file");
  /** @type {HTMLImageElement} */
  const preview = part("preview");
  const draw = part("draw");
  const hint = part("drop-hint");

  /** @type {Blob | URL | undefined} */
  let chosen;
  let name = "";
  const board = drawingBoard({ canvas: part("canvas"), colours: part("colours"), tools: part("tools"), onChange });

  const drawing = () => draw.getAttribute("aria-pressed") === "true";

  /** @param {boolean} on */
  function setDrawing(on) {
    draw.setAttribute("aria-pressed", String(on));
    for (const id of ["board", "undo", "wipe"]) part(id).hidden = !on;
    part("drop").hidden = on;
    if (on) part("ask").scrollIntoView({ block: "nearest" }); // the whole board, and what comes next
  }

  /** @param {Blob | URL} source @param {string} title */
  function choose(source, title) {
    setDrawing(false);
    URL.revokeObjectURL(preview.src);
    [chosen, name] = [source, title];
    preview.hidden = true; // until it is there: a picture that this browser cannot show is named instead
    preview.alt = title;
    preview.src = source instanceof URL ? source.href : URL.createObjectURL(source);
    hint.textContent = title;
    hint.hidden = false;
    for (const sample of part("samples").children) sample.ariaCurrent = "false";
    onChange();
    onChoose();
  }
  preview.addEventListener("load", () => {
    preview.hidden = false;
    hint.hidden = true;
  });
  preview.addEventListener("error", () => (hint.textContent = `${name}: this browser cannot show it.`));

  /** @param {File} file */
  function take(file) {
    // Some systems do not know the type of rare kinds of pictures, and leave it out.
    const other = file.type !== "" && !file.type.startsWith("image/");
    if (other) onRefuse({ code: "bad_image", file: file.name });
    else choose(file, file.name);
  }

  file.addEventListener("change", () => {
    const [first] = file.files ?? [];
    if (first) take(first);
    file.value = ""; // so that choosing the same file again counts
  });
  draw.addEventListener("click", () => {
    setDrawing(!drawing());
    onChange();
  });
  part("undo").addEventListener("click", () => board.undo());
  part("wipe").addEventListener("click", () => board.clear());

  document.addEventListener("paste", ({ clipboardData }) => {
    const [pasted] = clipboardData?.files ?? [];
    if (pasted) take(pasted);
  });
  /** Text may be dragged into the fields for text. @param {DragEvent} event */
  const isOurs = ({ target, dataTransfer }) => dataTransfer?.types.includes("Files") || !(target instanceof HTMLInputElement);
  document.addEventListener("dragover", (event) => {
    if (!isOurs(event)) return;
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dragging");
    if (!isOurs(event)) return;
    event.preventDefault();
    const [dropped] = event.dataTransfer?.files ?? [];
    if (dropped) take(dropped);
    else onRefuse({ code: "not_a_file" });
  });

  async function showSamples() {
    const response = await fetch("samples/index.json").catch(() => undefined);
    if (!response?.ok) return;
    for (const { file, title } of await response.json()) {
      const image = element("img", { src: `samples/${file}`, alt: title, draggable: false });
      const button = element("button", { type: "button", className: "sample", title }, image);
      button.addEventListener("click", () => {
        choose(new URL(image.src), title);
        button.ariaCurrent = "true";
      });
      part("samples").append(button);
    }
  }
  void showSamples();

  return {
    get empty() {
      return drawing() ? board.empty : chosen === undefined;
    },
    /** The chosen file's or sample's name; empty for a drawing. */
    get name() {
      return drawing() ? "" : name;
    },
    /** What is asked about, as the package takes it. Not to be called while it is empty. */
    read: async () => (drawing() ? board.picture() : /** @type {Blob | URL} */ (chosen)),
    startDrawing: () => {
      setDrawing(true);
      part("canvas").focus();
      onChange();
    },
  };
}
