// The demo page: wires the page's parts to the package.
import { availability, DEFAULT_MODEL, load, models } from "../dist/index.js";
import { drawingBoard } from "./draw.js";

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const part = (id) => /** @type {T} */ (document.getElementById(id));

/** @type {HTMLInputElement} */
const prompt = part("prompt");
/** @type {HTMLInputElement} */
const file = part("file");
/** @type {HTMLImageElement} */
const preview = part("preview");
/** @type {HTMLProgressElement} */
const bar = part("bar");
/** @type {HTMLInputElement} */
const modelUrl = part("model-url");
const answer = part("answer");
const status = part("status");

const QUESTIONS = ["What is in this picture?", "How many things are there?", "What kind of thing is this?", "Is there a star?"];

/** What is asked about: a picture, or the drawing board. @type {import("../dist/index.js").ImageInput | "board" | undefined} */
let picture;
/** @type {{ url: string, model: import("../dist/index.js").Model } | undefined} */
let loaded;
/** Stops what is under way. @type {AbortController | undefined} */
let work;

// ---- picture ----

const board = drawingBoard({
  canvas: part("canvas"),
  colours: part("colours"),
  tools: part("tools"),
  onChange: () => {
    if (part("draw").getAttribute("aria-pressed") === "true") picture = board.empty ? undefined : "board";
  },
});

/** @param {Blob | string} source a file, or a sample's address */
function show(source) {
  setDrawing(false);
  if (preview.src.startsWith("blob:")) URL.revokeObjectURL(preview.src);
  preview.src = typeof source === "string" ? source : URL.createObjectURL(source);
  preview.hidden = false;
  part("drop-hint").hidden = true;
  picture = typeof source === "string" ? new URL(source, document.baseURI) : source;
  void ask();
}

/** @param {boolean} on */
function setDrawing(on) {
  part("draw").setAttribute("aria-pressed", String(on));
  for (const id of ["board", "undo", "wipe"]) part(id).hidden = !on;
  part("drop").hidden = on;
  if (on) picture = board.empty ? undefined : "board";
  else if (picture === "board") picture = undefined;
}

file.addEventListener("change", () => {
  const [chosen] = file.files ?? [];
  if (chosen) show(chosen);
  file.value = ""; // so that choosing the same file again counts
});
part("draw").addEventListener("click", () => setDrawing(part("board").hidden === true));
part("undo").addEventListener("click", () => board.undo());
part("wipe").addEventListener("click", () => board.clear());

document.addEventListener("paste", ({ clipboardData }) => {
  const pasted = [...(clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
  if (pasted) show(pasted);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const [dropped] = event.dataTransfer?.files ?? [];
  if (dropped) show(dropped);
});

async function showSamples() {
  const response = await fetch("samples/index.json");
  if (!response.ok) return;
  for (const { file, title } of await response.json()) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "sample", title });
    button.append(Object.assign(new Image(), { src: `samples/${file}`, alt: title, loading: "lazy" }));
    button.addEventListener("click", () => show(`samples/${file}`));
    part("samples").append(button);
  }
}

// ---- question and answer ----

for (const question of QUESTIONS) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: question });
  button.addEventListener("click", () => {
    prompt.value = question;
    void ask();
  });
  part("questions").append(button);
}
part("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  void ask();
});
part("stop").addEventListener("click", () => work?.abort());

/** Asks about the picture; what was under way is stopped. */
async function ask() {
  if (picture === undefined) {
    say("Choose or draw a picture first, or take a sample.", true);
    return;
  }
  work?.abort();
  const mine = (work = new AbortController());
  const { signal } = mine;
  setBusy(true);
  say("");
  status.scrollIntoView({ block: "nearest" }); // on a phone the answer may be below the screen
  try {
    const image = picture === "board" ? await board.picture() : picture;
    const model = await currentModel(signal);
    signal.throwIfAborted();
    answer.classList.add("writing");
    status.textContent = "Looking at the picture…";
    const asked = performance.now();
    let firstAt = 0;
    /** @param {string} _ @param {number} tokens */
    const onToken = (_, tokens) => {
      firstAt ||= performance.now();
      const rate = tokens / ((performance.now() - asked) / 1000);
      status.textContent = `${tokens} tokens · ${rate.toFixed(1)} tokens/s so far`;
    };
    const stream = model.stream(image, prompt.value.trim() || undefined, { signal, onToken });
    for await (const piece of stream) answer.textContent += piece;
    const { token_ids, timings, finish_reason } = await stream.result;
    status.textContent = [
      `${token_ids.length} tokens`,
      `${timings.tokens_per_second.toFixed(1)} tokens/s`,
      firstAt ? `first word after ${seconds(firstAt - asked)}` : "",
      finish_reason === "length" ? "cut off at the longest answer" : "",
    ].filter(Boolean).join(" · ");
  } catch (error) {
    if (mine === work) tell(error);
  } finally {
    if (mine === work) setBusy(false);
  }
}

/** @param {string} text @param {boolean} [failed] */
function say(text, failed = false) {
  answer.textContent = text;
  answer.classList.toggle("failed", failed);
  answer.classList.remove("writing");
  status.textContent = "";
}

/** @param {unknown} error */
function tell(error) {
  const { code, name, message } = /** @type {import("../dist/index.js").LlavaError} */ (error);
  if (name === "AbortError") status.textContent = "Stopped.";
  else say(code ? `${message} (${code})` : message, true);
}

/** Something that stands in the way, or will: it stays on the page. @param {Error} problem */
function showProblem({ message }) {
  part("problems").append(Object.assign(document.createElement("p"), { textContent: message }));
  part("problems").hidden = false;
}

/** @param {boolean} busy */
function setBusy(busy) {
  part("stop").hidden = !busy;
  part("go").hidden = busy;
  if (busy) return;
  answer.classList.remove("writing");
  part("loading").hidden = true;
}

// ---- model ----

/** The model of the address field, loaded if it is not yet. @param {AbortSignal} signal */
async function currentModel(signal) {
  const url = modelUrl.value.trim() || DEFAULT_MODEL;
  if (loaded?.url === url && !loaded.model.ended) return loaded.model;
  loaded?.model.dispose();
  loaded = undefined;
  part("loading").hidden = false;
  bar.removeAttribute("value");
  part("bytes").textContent = "Starting…";
  try {
    // What is served beside this page may have changed with it; of a new version only the changed chunks are fetched.
    const model = await load(url, { signal, update: true, onProgress: showProgress, onWarning: showProblem });
    loaded = { url, model };
    const { info } = model;
    part("model-about").textContent = `${info.model} (${info.quantization}), context of ${info.context_length} tokens, loaded in ${seconds(info.load_ms)} on ${info.adapter}`;
    return model;
  } finally {
    part("loading").hidden = true;
    void showStored();
  }
}

/** @param {import("../dist/index.js").LoadProgress} progress */
function showProgress({ phase, loaded, total, from_cache }) {
  if (phase === "start") return;
  if (phase === "compile") {
    bar.removeAttribute("value"); // nobody knows how long it takes
    part("bytes").textContent = "Compiling shaders…";
    return;
  }
  bar.value = loaded / total;
  const doing = phase === "download" ? "Fetching the model" : "Loading the model";
  const kept = from_cache > 0 && phase === "download" ? `, ${megabytes(from_cache)} were stored` : "";
  part("bytes").textContent = `${doing}: ${megabytes(loaded)} of ${megabytes(total)}${kept}`;
}

part("model-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (picture !== undefined) void ask();
  else part("model-about").textContent = "It is loaded with the next question.";
});

// ---- storage ----

async function showStored() {
  const stored = await models.list().catch(() => []);
  const bytes = stored.reduce((sum, model) => sum + model.bytes, 0);
  part("stored-total").textContent = bytes > 0 ? megabytes(bytes) : "nothing";
  part("clear").hidden = stored.length === 0;
  part("stored").replaceChildren(
    ...stored.map(({ name, quantization, bytes, total_bytes, url }) => {
      const size = bytes < total_bytes ? `${megabytes(bytes)} of ${megabytes(total_bytes)}` : megabytes(bytes);
      return Object.assign(document.createElement("li"), { textContent: `${name} (${quantization}), ${size}: ${url}` });
    }),
  );
}

part("clear").addEventListener("click", async () => {
  for (const { url } of await models.list()) await models.delete(url);
  await showStored();
});

/** @param {number} bytes */
function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)}\u00a0MB`;
}

/** @param {number} ms */
function seconds(ms) {
  return `${(ms / 1000).toFixed(1)}\u00a0s`;
}

// ---- start ----

modelUrl.value = new URLSearchParams(location.search).get("model") ?? "";
void showSamples();
void showStored();
const plan = await availability(modelUrl.value.trim() || DEFAULT_MODEL);
plan.problems.forEach(showProblem);
if (!loaded && plan.bytes_to_download !== undefined && plan.gpu_memory) {
  const { name, bytes_to_download, stored_bytes, gpu_memory, context_length } = plan;
  const size = `${megabytes(bytes_to_download)} to fetch, ${megabytes(stored_bytes)} stored`;
  part("model-about").textContent = `${name}: ${size}, ${megabytes(gpu_memory.total)} of GPU memory with a context of ${context_length} tokens`;
}
