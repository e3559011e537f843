// The apps that a bundler or a framework builds, each as its users run it: commands of a shell, with the tools of the app's own
// node_modules, and BASE, the path that the app is deployed below.

const PAGE = "cp index.html dist/";
const FILES = "cp -r node_modules/llava-web/dist/llava-web";
// Bundlers that do not follow workers: the line that README.md names.
const BESIDE = `${FILES} dist/`;
const VITE_7 = "node node_modules/vite-7/bin/vite.js -c vite-7.config.js";

/** What a server says that has left the package as it is, and one that has bundled it, so that its files are elsewhere. */
const [ANSWER, CURE] = [/circle/, /^LlavaError engine_failed: .*serverExternalPackages/];

/**
 * `folder`: beside this file, with the package.json, to which the page of page/ is added; `build`: makes the folder `out`; `serve`: a
 * server of the framework's own on PORT in place of a static one; `server`: what the page says that it renders on the server; `quick`:
 * part of every run.
 */
export const APPS = [
  { name: "Vite 8", folder: "vite", build: "vite build --base $BASE", out: "dist", quick: true },
  { name: "Vite 8, base ./", folder: "vite", build: "vite build --base ./", out: "dist" },
  { name: "Vite 8, development", folder: "vite", serve: "vite --base $BASE --port $PORT --strictPort" },
  { name: "Vite 7, development", folder: "vite", serve: `${VITE_7} --base $BASE --port $PORT --strictPort` },
  { name: "webpack 5.113", folder: "webpack", build: `webpack && ${PAGE}`, out: "dist", quick: true },
  { name: "webpack 5.98", folder: "webpack", build: `WEBPACK_PACKAGE=webpack-5.98 webpack && ${PAGE}`, out: "dist" },
  ...["turbopack", "webpack"].flatMap((builder) => [
    { name: `Next.js 16, ${builder}`, folder: "next", build: `next build --${builder}`, serve: "next start --port $PORT", server: ANSWER },
    { name: `Next.js 16, ${builder}, static export`, folder: "next", build: `OUTPUT=export BUNDLED=1 next build --${builder}`, out: "out", server: CURE },
    { name: `Next.js 16, ${builder}, development`, folder: "next", serve: `next dev --${builder} --port $PORT`, server: ANSWER },
  ]),
  { name: "Parcel 2", folder: "parcel", build: "parcel build index.html --public-url $BASE", out: "dist" },
  {
    name: "esbuild",
    folder: "esbuild",
    build: `esbuild main.js --bundle --format=esm --outdir=dist && ${PAGE} && ${BESIDE}`,
    out: "dist",
    quick: true,
  },
  {
    name: "esbuild, a classic script",
    folder: "esbuild",
    build: `esbuild configured.js --bundle --outfile=dist/main.js && ${PAGE} && mkdir dist/static && ${FILES} dist/static/`,
    out: "dist",
  },
  { name: "Rollup 4", folder: "rollup", build: `rollup main.js -d dist -p node-resolve && ${PAGE} && ${BESIDE}`, out: "dist" },
];
