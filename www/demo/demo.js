// The demo page: wires the page's parts to the package.
import { availability, DEFAULT_MODEL, load, models } from "../dist/index.js";
import { element, part } from "./page.js";
import { picturePanel } from "./picture.js";
import { dropProblem, showProblems } from "./problems.js";

/** @typedef {import("../dist/index.js").Model} Model */
/** @typedef {import("./problems.js").Problem} Problem */

part("asleep").remove();

/** @type {HTMLInputElement} */
const prompt = part("prompt");
/** @type {HTMLProgressElement} */
const bar = part("bar");
/** @type {HTMLMeterElement} */
const meter = part("sureness");
/** @type {HTMLInputElement} */
const modelUrl = part("model-url");
const answer = part("answer");
const status = part("status");

const QUESTIONS = ["What is in this picture?", "How many things are there?", "What kind of thing is this?", "Is there a star?"];

/** The model that is loaded or being loaded. @type {{ url: string, model: Promise<Model>, loaded?: Model, stop: AbortController } | undefined} */
let current;
/** Stops the question that is under way, or was last. @type {AbortController | undefined} */
let work;

// ---- picture ----

const picture = picturePanel({ onChoose: () => void ask(), onChange: () => part("stop").hidden && say(""), onRefuse: fail });

// ---- question and answer ----

for (const question of QUESTIONS) {
  const button = element("button", { type: "button", textContent: question });
  button.addEventListener("click", () => {
    prompt.value = question;
    void ask();
  });
  part("questions").append(button);
}
part("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (matchMedia("(pointer: coarse)").matches) prompt.blur(); // the keyboard on the screen would hide the answer
  void ask();
});
prompt.addEventListener("input", () => dropProblem(part("failure"), "invalid_input"));
part("stop").addEventListener("click", () => {
  work?.abort();
  if (!current?.loaded) current?.stop.abort();
});

part("try-sample").addEventListener("click", () => {
  /** @type {HTMLElement | null} */
  const sample = document.querySelector("#samples button:not([aria-current=true])");
  sample?.click();
});
part("try-drawing").addEventListener("click", () => picture.startDrawing());
part("try-model").addEventListener("click", () => {
  part("another").toggleAttribute("open", true);
  modelUrl.focus();
});

/** Asks about the picture; what was asked before is stopped, but not the loading of the model. */
async function ask() {
  work?.abort();
  const mine = (work = new AbortController());
  const { signal } = mine;
  say("");
  if (picture.empty) return fail({ code: "missing_input" });
  setBusy(true);
  try {
    const image = await picture.read();
    const model = await currentModel();
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
    const { token_ids, token_logprobs, timings, finish_reason } = await stream.result;
    showSureness(token_logprobs);
    status.textContent = [
      `${token_ids.length} tokens`,
      `${timings.tokens_per_second.toFixed(1)} tokens/s`,
      firstAt ? `first word after ${seconds(firstAt - asked)}` : "",
      finish_reason === "length" ? "cut off at the longest answer" : "",
    ].filter(Boolean).join(" · ");
    part("unknown-knows").hidden = isOwnModel();
    part("unknown").hidden = !/\bI (don['’]t|do not) know\b/i.test(answer.textContent ?? "");
  } catch (error) {
    if (mine === work) tell(/** @type {Error} */ (error));
  } finally {
    if (mine === work) setBusy(false);
  }
}

/** Shows how sure the model was of its answer: the mean of its tokens' probabilities. @param {number[]} logprobs */
function showSureness(logprobs) {
  const sureness = logprobs.reduce((sum, logprob) => sum + Math.exp(logprob), 0) / logprobs.length;
  meter.value = sureness;
  part("sure-text").textContent = `${Math.round(100 * sureness)} % sure`;
  part("sure").hidden = false;
}

/** Shows `text` in place of the last answer, and of what went wrong with it. @param {string} text */
function say(text) {
  answer.textContent = text;
  part("sure").hidden = true;
  status.textContent = "";
  part("unknown").hidden = true;
  showProblems(part("failure"), []);
}

/** @param {Error & { code?: string }} error */
function tell({ name, code, message }) {
  if (name === "AbortError") status.textContent = "Stopped.";
  else fail({ code, message, file: picture.name });
}

/** Shows what stands in the way of an answer where the answer would be. @param {Problem} problem */
function fail(problem) {
  status.textContent = "";
  dropProblem(part("problems"), problem.code); // it may have been foretold there
  showProblems(part("failure"), [problem], { ownModel: isOwnModel() });
  reveal();
}

/** @param {boolean} busy */
function setBusy(busy) {
  const stop = part("stop");
  if (!busy && document.activeElement === stop) part("go").focus(); // what is hidden loses the focus
  stop.hidden = !busy;
  answer.ariaBusy = String(busy); // so that it is read out once it is whole
  if (!busy) answer.classList.remove("writing");
  const { top, bottom } = part("reply").getBoundingClientRect();
  const left = top > innerHeight || bottom < 0; // whoever has gone elsewhere meanwhile is not called back
  if (busy || !left) reveal();
}

/** On a phone the answer may be below the screen. */
function reveal() {
  part("reply").scrollIntoView({ block: "nearest" });
}

// ---- model ----

const isOwnModel = () => modelUrl.value.trim() !== "";
const chosenModel = () => modelUrl.value.trim() || DEFAULT_MODEL;

/** The model of the address field: loaded, being loaded, or loaded from now on. */
function currentModel() {
  const url = chosenModel();
  if (current?.url === url && !current.loaded?.ended) return current.model;
  current?.stop.abort();
  current?.loaded?.dispose();
  const stop = new AbortController();
  const mine = (current = { url, stop, model: loadModel(url, stop.signal) });
  const end = (/** @type {Model | undefined} */ model) => {
    if (current !== mine) return model?.dispose(); // another one was chosen meanwhile
    current = model && { ...mine, loaded: model };
    part("loading").hidden = true;
  };
  mine.model.then(end, () => end(undefined));
  return mine.model;
}

/** @param {string} url @param {AbortSignal} signal */
async function loadModel(url, signal) {
  bar.removeAttribute("value");
  part("bytes").textContent = "Starting…";
  part("loading").hidden = false;
  reveal();
  /** @type {Problem[]} */
  const warnings = [];
  /** @param {Problem} warning */
  const onWarning = (warning) => {
    // Ten damaged files are one message.
    if (!warnings.some(({ code }) => code === warning.code)) warnings.push(warning);
    showProblems(part("warnings"), warnings, { ownModel: isOwnModel(), goesOn: true });
  };
  showProblems(part("warnings"), warnings);
  try {
    // What is served beside this page may have changed with it; of a new version only the changed chunks are fetched.
    const model = await load(url, { signal, update: true, onProgress: showProgress, onWarning });
    showProblems(part("problems"), []);
    const { info } = model;
    part("model-about").textContent = `${info.model} (${info.quantization}), context of ${info.context_length} tokens, loaded in ${seconds(info.load_ms)} on ${info.adapter}`;
    return model;
  } finally {
    void showStored();
  }
}

/** @param {import("../dist/index.js").LoadProgress} progress */
function showProgress({ phase, loaded, total, from_cache }) {
  if (phase === "start") return;
  if (phase === "compile") {
    bar.removeAttribute("value"); // nobody knows how long it takes
    part("bytes").textContent = "Getting ready…";
    return;
  }
  bar.value = loaded / total;
  const doing = phase === "download" ? "Fetching the model" : "Loading the model";
  const kept = from_cache > 0 && phase === "download" ? `, ${megabytes(from_cache)} were stored` : "";
  part("bytes").textContent = `${doing}: ${megabytes(loaded)} of ${megabytes(total)}${kept}`;
}

/** Says in `place` what stands in the way of the model of the address field, or what it would take. @param {HTMLElement} place */
async function look(place) {
  const url = chosenModel();
  showKnows();
  for (const problems of ["problems", "model-problems"]) showProblems(part(problems), []);
  /** @type {Partial<import("../dist/index.js").Availability>} */
  const plan = await availability(url).catch((error) => ({ problems: [error] }));
  if (url !== chosenModel() || current?.url === url) return;
  showProblems(place, plan.problems ?? [], { ownModel: isOwnModel() });
  place.scrollIntoView({ block: "nearest" });
  part("model-about").textContent = "";
  const { name, bytes_to_download: missing, stored_bytes = 0, memory, context_length } = plan;
  if (missing === undefined) return;
  const size = `${megabytes(missing)} to fetch, ${megabytes(stored_bytes)} stored`;
  const room = memory ? `, ${megabytes(memory.total)} of memory with a context of ${context_length} tokens` : "";
  part("model-about").textContent = `${name}: ${size}${room}. It is loaded with the next question.`;
  if (plan.available && missing > 0 && !work) status.textContent = `The first question fetches the model once: ${megabytes(missing)}.`;
}

/** What the built-in model knows says nothing of another one. */
function showKnows() {
  part("knows").hidden = isOwnModel();
  part("knows-not").hidden = !isOwnModel();
}

modelUrl.addEventListener("input", () => {
  showKnows();
  for (const place of ["failure", "model-problems"]) showProblems(part(place), []);
});
part("model-form").addEventListener("submit", (event) => {
  event.preventDefault();
  void look(part("model-problems"));
});
part("built-in").addEventListener("click", () => {
  modelUrl.value = "";
  void look(part("problems"));
});
addEventListener("online", () => {
  dropProblem(part("failure"), "network");
  void look(part("problems"));
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
      return element("li", { textContent: `${name} (${quantization}), ${size}: ${url}` });
    }),
  );
}

part("clear").addEventListener("click", async () => {
  try {
    for (const { url } of await models.list()) await models.delete(url);
  } catch (error) {
    tell(/** @type {Error} */ (error));
  }
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

part("unknown-knows").textContent = part("knows").textContent;
modelUrl.value = new URLSearchParams(location.search).get("model") ?? "";
void showStored();
void look(part("problems"));
