// WebKit, Safari's engine, as Debian's webkit2gtk-driver has it, driven by WebDriver (https://w3c.github.io/webdriver/): as much of what
// Playwright does for Chromium as the tests ask of it. It has no WebGPU, and needs a screen, which is Xvfb's.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";

const LIBRARIES = "/usr/lib";

/** The browser that goes with the driver. */
function miniBrowser() {
  const folders = readdirSync(LIBRARIES).flatMap((folder) => ["4.1", "4.0"].map((version) => join(LIBRARIES, folder, `webkit2gtk-${version}/MiniBrowser`)));
  const found = folders.find((file) => existsSync(file));
  if (!found) throw new Error("no WebKit found: on Debian `apt-get install webkit2gtk-driver xvfb`");
  return found;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** Starts WebKit with `folder` for its files; resolves to what opens pages in it. */
export async function launchProfile(folder) {
  const binary = miniBrowser();
  const runtime = join(folder, "runtime");
  await mkdir(runtime, { recursive: true, mode: 0o700 });
  // Xvfb itself finds a number for the screen, and writes it down.
  const screen = spawn("Xvfb", ["-displayfd", "3", "-screen", "0", "1280x900x24", "-nolisten", "tcp"], { stdio: ["ignore", "ignore", "ignore", "pipe"] });
  const [number] = await Promise.race([once(screen.stdio[3], "data"), failed(screen, "Xvfb")]);
  const port = await freePort();
  const env = {
    ...process.env,
    DISPLAY: `:${String(number).trim()}`,
    HOME: folder,
    XDG_RUNTIME_DIR: runtime,
    XDG_DATA_HOME: join(folder, "data"),
    XDG_CACHE_HOME: join(folder, "cache"),
    // Its sandbox does not start for root.
    WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1",
  };
  const driver = spawn("WebKitWebDriver", [`--port=${port}`], { env, stdio: "ignore" });
  const gone = failed(driver, "WebKitWebDriver");
  gone.catch(() => undefined);
  const send = sender(`http://127.0.0.1:${port}`);
  await Promise.race([answering(send), gone]);
  const options = { binary, args: ["--automation"] };
  const { sessionId } = await send("POST", "/session", { capabilities: { alwaysMatch: { "webkitgtk:browserOptions": options } } });
  return new Browser([driver, screen], (method, path, body) => send(method, `/session/${sessionId}${path}`, body));
}

/** Rejects when `child` does not start, or ends. */
function failed(child, name) {
  return new Promise((_, fail) => {
    child.once("error", (error) => fail(new Error(`${name}: ${error.message}`)));
    child.once("exit", (code) => fail(new Error(`${name} ended with ${code}`)));
  });
}

function sender(origin) {
  return async (method, path, body) => {
    const response = await fetch(origin + path, { method, body: body && JSON.stringify(body), headers: { "content-type": "application/json" } });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
    return value;
  };
}

async function answering(send) {
  for (;;) {
    const status = await send("GET", "/status").catch(() => undefined);
    if (status) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

class Browser {
  #children;
  #send;

  constructor(children, send) {
    [this.#children, this.#send] = [children, send];
  }

  /** The one page that there is. */
  async newPage() {
    await this.#send("POST", "/timeouts", { script: 120_000, pageLoad: 60_000 });
    return new Page(this.#send);
  }

  async close() {
    await this.#send("DELETE", "").catch(() => undefined);
    for (const child of this.#children) {
      const ended = once(child, "exit");
      child.kill();
      await ended;
    }
  }
}

class Page {
  #send;

  constructor(send) {
    this.#send = send;
  }

  async goto(url) {
    await this.#send("POST", "/url", { url });
  }

  /** The value of a function of this one argument, which goes as JSON. */
  evaluate(work, argument) {
    const script = `const done = arguments[1]; Promise.resolve((${work})(arguments[0])).then((value) => done({ value }), (error) => done({ error: String(error) }));`;
    return this.#send("POST", "/execute/async", { script, args: [argument ?? null] }).then(({ value, error }) => {
      if (error !== undefined) throw new Error(error);
      return value;
    });
  }
}
