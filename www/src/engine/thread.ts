import { EngineCrashed, LlavaError } from "../basics/errors.js";
import { absolute, FILES_CURE } from "../basics/host.js";
import { blockedCure, watchPolicy } from "../basics/policy.js";
import { trusted } from "../basics/trusted.js";
import type { RunningEngine } from "../engine.js";
import { engineAddress, isWorker, packaged, type Assets } from "./assets.js";
import { BUILD } from "./build.js";
import { cachedCopy, keepCopy } from "./cached.js";
import { needsBrowser } from "./browser.js";
import { helperCrew } from "./helper-crew.js";
import type { Help, Reply, Request, Thread, ThreadEvents } from "./protocol.js";

/** How a worker is made. */
interface WorkerCall {
  url: string;
  options: WorkerOptions | undefined;
}

const VITE = 'Vite up to 7 moves packages in development: set optimizeDeps: { exclude: ["llava-web"] } in its configuration.';
/** How long a worker may take to answer for the first time, in ms: its script may come over a slow line. */
const PATIENCE = 30_000;

/**
 * Starts an engine.
 *
 * @throws LlavaError `engine_failed` where its script does not come or does not run, `webgpu_unavailable` where there is no browser.
 */
export async function openThread({ worker, engine }: Assets, events: ThreadEvents): Promise<Thread> {
  needsBrowser(); // a server that renders a page should not even look for the engine
  if (engine) return sameThread(engine as { startEngine: StartEngine }, events);
  if (isWorker(worker)) return greet(claim(worker), "the Worker given", events);
  if (typeof worker === "function") return greet(claim(made(worker)), "the Worker given", events);
  if (typeof Worker === "undefined") return sameThread(await importEngine(), events);
  const call = worker === undefined ? packagedCall() : { url: absolute(worker), options: { type: "module" } as const };
  try {
    const thread = await greet(await makeWorker(call), call.url, events);
    void keepScript(call.url);
    return thread;
  } catch (failure) {
    const copy = await keptScript(call.url);
    if (copy === undefined) throw failure;
    const url = scriptUrl(copy);
    return greet(ownWorker(url, call.options), url, events);
  }
}

// ---- this thread ----

type StartEngine = (post: (reply: Reply | Help) => void) => RunningEngine;

function sameThread({ startEngine }: { startEngine: StartEngine }, { onReply }: ThreadEvents): Thread {
  const post = (request: Request) => running.receive(request);
  const crew = helperCrew(post);
  const running = startEngine((reply) => (reply.type === "help" ? crew.ask(reply) : onReply(reply)));
  return { post, end: () => running.end() }; // it ends its helpers when it has ended its work
}

async function importEngine(): Promise<{ startEngine: StartEngine }> {
  const address = engineAddress();
  let cause: unknown;
  try {
    // An address at run time, not a module to bundle: bundles that are one file could not have a second one.
    const engine = await import(/* webpackIgnore: true */ /* turbopackIgnore: true */ /* @vite-ignore */ address);
    if (typeof engine.startEngine === "function") return engine; // Parcel makes a script without exports of it
  } catch (error) {
    cause = error;
  }
  const cure = 'import * as engine from "llava-web/engine"; configure({ engine })';
  throw new LlavaError("engine_failed", `This thread has no Worker, and ${address} cannot be imported later: import it first. ${cure}`, { cause });
}

// ---- a worker ----

/** The package's worker. Bundlers look for exactly this form. */
function packagedWorker(): Worker {
  return new Worker(new URL("./llava-web/worker.js", import.meta.url), { type: "module" });
}

/** How bundlers have rewritten the making of the package's worker: they hide the address, and it may be of another origin. */
function packagedCall(): WorkerCall {
  packaged("worker", () => new URL(import.meta.url));
  const { Worker: real } = globalThis;
  let call: WorkerCall | undefined;
  const Listening = function (url: string | URL, options?: WorkerOptions) {
    call = { url: absolute(url), options };
  };
  try {
    globalThis.Worker = Listening as unknown as typeof Worker;
    packagedWorker();
  } finally {
    globalThis.Worker = real;
  }
  if (!call) throw new LlavaError("engine_failed", `The bundler made no worker of the package's. ${FILES_CURE}`);
  return call;
}

/** Browsers start no worker of another origin; one of the page's own may import it. */
async function makeWorker(call: WorkerCall): Promise<Worker> {
  watchPolicy();
  try {
    return startWorker(call);
  } catch (cause) {
    if (cause instanceof LlavaError) throw cause;
    throw await doesNotRun(call.url, cause); // some browsers throw what others tell by an event
  }
}

function startWorker({ url, options }: WorkerCall): Worker {
  if (!isForeign(new URL(url))) return new Worker(trusted(url), options);
  const text = options?.type === "module" ? `import ${JSON.stringify(url)};` : `importScripts(${JSON.stringify(url)});`;
  return ownWorker(scriptUrl(text), options);
}

function isForeign({ origin, protocol }: URL): boolean {
  return origin !== globalThis.origin && protocol !== "blob:" && protocol !== "data:";
}

/** A script of the page's own origin. */
function scriptUrl(text: string): string {
  return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
}

/** A worker of such a script, whose URL is given back once it has been read. */
function ownWorker(url: string, options: WorkerOptions | undefined): Worker {
  const worker = new Worker(trusted(url), options);
  for (const event of ["message", "error"]) worker.addEventListener(event, () => URL.revokeObjectURL(url), { once: true });
  return worker;
}

/** Keeps the worker's script for a time without a network, in which the browser may have dropped it. */
async function keepScript(url: string): Promise<void> {
  if (!/^https?:/.test(url) || (await cachedCopy(url))) return;
  const response = await fetch(url).catch(() => undefined);
  if (response?.ok) await keepCopy(url, await response.text(), "text/javascript");
}

/** The kept script, if there is no network to get it from; what the network serves and does not run is another failure. */
async function keptScript(url: string): Promise<string | undefined> {
  const copy = await cachedCopy(url);
  if (!copy) return undefined;
  const reached = await fetch(url).then(() => true, () => false);
  return reached ? undefined : copy.text();
}

function made(make: () => Worker): Worker {
  try {
    return make();
  } catch (cause) {
    throw new LlavaError("invalid_input", "`worker`: the function that should make a Worker has thrown an error.", { cause });
  }
}

const taken = new WeakSet<Worker>();

/** A Worker holds one model. */
function claim(worker: Worker): Worker {
  if (!isWorker(worker)) throw new LlavaError("invalid_input", "`worker` is a function, so it must return a Worker.");
  if (taken.has(worker)) {
    throw new LlavaError("invalid_input", "`worker`: this Worker has a model already. Give a URL, or a function that makes a new Worker each time.");
  }
  taken.add(worker);
  return worker;
}

/** Waits for the worker's first word. */
async function greet(worker: Worker, address: string, { onReply, onFailure }: ThreadEvents): Promise<Thread> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const build = await new Promise<string>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<Reply>) => data.type === "ready" && resolve(data.build);
      worker.onerror = (event) => {
        event.preventDefault(); // it is told by the rejection
        reject(event);
      };
      timer = setTimeout(() => reject(new Error(`no answer in ${PATIENCE / 1000} s`)), PATIENCE);
      worker.postMessage({ type: "hello" } satisfies Request);
    });
    if (build !== BUILD) throw new Error(`it is of build ${build}, and the page of ${BUILD}`);
  } catch (cause) {
    worker.terminate();
    throw await doesNotRun(address, cause);
  } finally {
    clearTimeout(timer);
  }
  const post = (request: Request) => worker.postMessage(request);
  const crew = helperCrew(post);
  worker.onmessage = ({ data }: MessageEvent<Reply | Help>) => (data.type === "help" ? crew.ask(data) : onReply(data));
  worker.onerror = ({ message }) => onFailure(new EngineCrashed("engine_failed", `The worker failed: ${message}. Load the model again.`));
  const end = () => {
    worker.terminate();
    crew.end();
  };
  return { post, end };
}

async function doesNotRun(address: string, cause: unknown): Promise<LlavaError> {
  const { message } = cause as { message?: string };
  const what = `The engine's worker does not run (${address}${message ? `: ${message}` : ""})`;
  return new LlavaError("engine_failed", `${what}. ${await cureFor(address)}`, { cause });
}

async function cureFor(address: string): Promise<string> {
  const url = new URL(address, globalThis.location?.href);
  const foreign = isForeign(url);
  const cure = await blockedCure(foreign ? `blob:${globalThis.origin}` : address);
  if (cure) return cure;
  if (address.includes("/.vite/deps/")) return VITE;
  // What is blocked within the page's own worker no event tells the page.
  return foreign ? `${FILES_CURE} A Content-Security-Policy must have blob: and ${url.origin} in its worker-src.` : FILES_CURE;
}
