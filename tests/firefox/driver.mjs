// Firefox with WebGPU, headless, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/): as much of what Playwright does
// for Chromium as the tests ask of it. Playwright itself takes a patched Firefox, or one newer than Debian's.
import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";

const PLACES = [
  "/usr/bin/firefox-esr",
  "/usr/bin/firefox",
  "/Applications/Firefox.app/Contents/MacOS/firefox",
  "C:\\Program Files\\Mozilla Firefox\\firefox.exe",
];

/** WebGPU also on Linux and on a GPU in software. */
const WEBGPU = {
  "dom.webgpu.enabled": true,
  "gfx.webgpu.ignore-blocklist": true,
};

/** Nothing that a fresh profile would fetch or ask. */
const PREFERENCES = {
  "app.normandy.enabled": false,
  "app.update.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.page": 0,
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.getAddons.cache.enabled": false,
  "services.settings.server": "data:,",
  "toolkit.telemetry.enabled": false,
};

/** The Firefox to run: LLAVA_FIREFOX, or one in its usual place. */
function firefoxPath() {
  const path = process.env.LLAVA_FIREFOX || PLACES.find((place) => existsSync(place));
  if (!path) throw new Error("no Firefox found: install one, or set LLAVA_FIREFOX to its path");
  return path;
}

/** Starts Firefox on the profile in `folder`, which stays, with `webgpu` or as it is; resolves to what opens pages in it. */
export async function launchProfile(folder, { webgpu = true } = {}) {
  if (!globalThis.WebSocket) throw new Error("Node 20 has WebSocket with NODE_OPTIONS=--experimental-websocket only");
  const lines = Object.entries({ ...PREFERENCES, ...(webgpu && WEBGPU) }).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
  await writeFile(join(folder, "user.js"), lines.join(""));
  // Without one its GPU process finds no driver.
  const runtime = join(folder, "runtime");
  await mkdir(runtime, { recursive: true, mode: 0o700 });
  const child = spawn(firefoxPath(), ["--headless", "--no-remote", "--remote-debugging-port=0", "--profile", folder], {
    env: { ...process.env, XDG_RUNTIME_DIR: runtime },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(child, "close");
  const address = await listening(child);
  return new Browser(child, ended, await connect(`${address}/session`));
}

/** The address that Firefox says it listens on. */
function listening(child) {
  return new Promise((done, fail) => {
    const said = [];
    child.once("error", fail);
    child.once("close", (code) => fail(new Error(`Firefox ended with ${code}:\n${said.join("\n")}`)));
    createInterface(child.stderr).on("line", (line) => {
      const [, address] = line.match(/^WebDriver BiDi listening on (\S+)/) ?? [];
      if (address) done(address);
      else said.push(line);
    });
  });
}

/** `send(method, params)` resolves to a command's result; `events` emits by the names of the protocol. */
async function connect(address) {
  const socket = new WebSocket(address);
  await new Promise((done, fail) => {
    socket.onopen = done;
    socket.onerror = () => fail(new Error(`no connection to ${address}`));
  });
  const events = new EventEmitter();
  const waiting = new Map();
  let id = 0;
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "event") return void events.emit(message.method, message.params);
    const { done, fail } = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.type === "success") done(message.result);
    else fail(new Error(`${message.error}: ${message.message}`));
  };
  socket.onclose = () => {
    for (const { fail } of waiting.values()) fail(new Error("Firefox has gone"));
  };
  const send = (method, params) =>
    new Promise((done, fail) => {
      waiting.set(++id, { done, fail });
      socket.send(JSON.stringify({ id, method, params }));
    });
  await send("session.new", { capabilities: {} });
  return { events, send };
}

class Browser extends EventEmitter {
  #child;
  #ended;
  #connection;
  #pages = new Set();

  constructor(child, ended, connection) {
    super();
    [this.#child, this.#ended, this.#connection] = [child, ended, connection];
  }

  pages() {
    return [...this.#pages];
  }

  async newPage() {
    const { context } = await this.#connection.send("browsingContext.create", { type: "tab" });
    const page = new Page(context, this.#connection.send, () => this.#pages.delete(page));
    this.#pages.add(page);
    return page;
  }

  async close() {
    // The answer may be lost in the end that it brings about.
    this.#connection.send("browser.close", {}).catch(() => {});
    await this.#ended;
  }

  async kill() {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

class Page {
  #context;
  #send;
  #forget;

  constructor(context, send, forget) {
    [this.#context, this.#send, this.#forget] = [context, send, forget];
  }

  goto(url) {
    return this.#send("browsingContext.navigate", { context: this.#context, url, wait: "complete" });
  }

  /** The value of an expression, or of a function of this one argument, which goes as JSON. */
  async evaluate(work, argument) {
    const expression = typeof work === "function" ? `(${work})(${JSON.stringify(argument)})` : work;
    const { type, result, exceptionDetails } = await this.#send("script.evaluate", {
      expression,
      target: { context: this.#context },
      awaitPromise: true,
      userActivation: true,
    });
    if (type === "exception") throw new Error(exceptionDetails.text);
    return decode(result);
  }

  async close() {
    this.#forget();
    await this.#send("browsingContext.close", { context: this.#context });
  }
}

/** A value as the protocol writes it. */
function decode({ type, value }) {
  switch (type) {
    case "undefined":
      return undefined;
    case "null":
      return null;
    case "number":
      return Number(value);
    case "string":
    case "boolean":
      return value;
    case "date":
      return new Date(value);
    case "array":
      return value.map(decode);
    case "object":
      // Without a value: an object of the browser's own.
      if (value) return Object.fromEntries(value.map(([key, of]) => [key, decode(of)]));
  }
  throw new Error(`the page gave ${value ?? type}, which is no plain value`);
}
