// A static file server for development: the packed package with its demo page, and the models, on one address.
//
//   node scripts/serve.mjs [--port 8080] [--host 127.0.0.1]        (port 0: any free one)
import { createReadStream } from "node:fs";
import { access, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const WWW = dirname(dirname(fileURLToPath(import.meta.url)));

/** The package as it is packed, and unpacked again by `cargo xtask build`. */
export const PACKAGE = join(WWW, "package");

/** Which folder answers for which path. */
export const MOUNTS = {
  "/demo/": join(PACKAGE, "demo"),
  "/dist/": join(PACKAGE, "dist"),
  "/models/": join(dirname(WWW), "models"),
};

const TYPES = {
  ".bin": "application/octet-stream",
  ".css": "text/css; charset=utf-8",
  ".gif": "image/gif",
  ".html": "text/html; charset=utf-8",
  ".jpeg": "image/jpeg",
  ".jpg": "image/jpeg",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".map": "application/json; charset=utf-8",
  ".md": "text/markdown; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webp": "image/webp",
};

/** A request handler for `node:http` that serves the folders of `mounts`. */
export function serveFiles(mounts = MOUNTS) {
  return async (request, response) => {
    try {
      await answer(mounts, request, response);
    } catch (error) {
      // A visitor who left in mid-file is no error of ours.
      if (error.code !== "ERR_STREAM_PREMATURE_CLOSE") console.error(error);
      response.destroy();
    }
  };
}

/** The same on pages that are cross-origin isolated, which may have threads share memory. */
export function serveIsolated(handler = serveFiles()) {
  return (request, response) => {
    response.setHeader("cross-origin-opener-policy", "same-origin");
    response.setHeader("cross-origin-embedder-policy", "require-corp");
    return handler(request, response);
  };
}

/** Starts a server and resolves to `{ origin, close() }`. */
export async function start({ handler = serveFiles(), port = 0, host = "127.0.0.1" } = {}) {
  const server = createServer(handler);
  await new Promise((done, fail) => server.once("error", fail).listen(port, host, done));
  const close = () =>
    new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    });
  return { origin: `http://localhost:${server.address().port}`, close };
}

async function answer(mounts, request, response) {
  if (request.method !== "GET" && request.method !== "HEAD") return refuse(response, 405, "only GET and HEAD");
  const path = decodedPath(request.url);
  if (path === undefined) return refuse(response, 400, "not a valid path");
  if (path === "/" && !("/" in mounts)) return redirect(response, "/demo/");
  if (`${path}/` in mounts) return redirect(response, `${path}/`);
  const file = locate(mounts, path);
  const found = file && (await stat(file).catch(() => undefined));
  if (found?.isDirectory() && !path.endsWith("/")) return redirect(response, `${encodeURI(path)}/`);
  if (!found?.isFile()) return refuse(response, 404, `there is no ${path}`);

  const tag = `"${found.size.toString(36)}-${found.mtimeMs.toString(36)}"`;
  response.setHeader("etag", tag);
  // Chunks carry their hash as name and never change; everything else may after the next build.
  response.setHeader("cache-control", /\/chunks\/[0-9a-f]{64}\.bin$/.test(path) ? "max-age=31536000, immutable" : "no-cache");
  response.setHeader("access-control-allow-origin", "*");
  response.setHeader("x-content-type-options", "nosniff");
  if (request.headers["if-none-match"] === tag) return response.writeHead(304).end();
  response.writeHead(200, { "content-type": TYPES[extname(file).toLowerCase()] ?? "application/octet-stream", "content-length": found.size });
  if (request.method === "HEAD") return response.end();
  await pipeline(createReadStream(file), response);
}

/** The path of a request without its query, decoded; undefined where it cannot be one. */
function decodedPath(url) {
  try {
    const path = decodeURIComponent(url.split(/[?#]/)[0]);
    return path.startsWith("/") && !path.includes("\0") && !path.includes("\\") ? path : undefined;
  } catch {
    return undefined;
  }
}

/** The file behind a path; undefined where no folder answers for it, or it points out of its folder. */
function locate(mounts, path) {
  const prefix = Object.keys(mounts).find((prefix) => path.startsWith(prefix));
  if (!prefix) return undefined;
  const folder = resolve(mounts[prefix]);
  const rest = path.slice(prefix.length);
  const file = resolve(folder, rest.endsWith("/") || rest === "" ? `${rest}index.html` : rest);
  return file.startsWith(folder + sep) ? file : undefined;
}

function redirect(response, location) {
  response.writeHead(302, { location }).end();
}

function refuse(response, status, problem) {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(`${status}: ${problem}\n`);
}

async function main() {
  const { values } = parseArgs({ options: { port: { type: "string", default: "8080" }, host: { type: "string", default: "127.0.0.1" } } });
  await access(PACKAGE).catch(() => {
    throw new Error("www/package is not built yet: run `cargo xtask build`, or `cargo xtask demo`, which does it all");
  });
  const { origin } = await start({ handler: serveIsolated(), port: Number(values.port), host: values.host }).catch((error) => {
    throw error.code === "EADDRINUSE" ? new Error(`port ${values.port} is taken: choose another with --port, or 0 for any free one`) : error;
  });
  console.log(`The demo is at ${origin}/ (Ctrl+C ends it)`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await main().catch((error) => {
    console.error(`error: ${error.message}`);
    process.exit(1);
  });
}
