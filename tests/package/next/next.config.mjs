// For answers on the server the package must stay as it is there; what a page says that is rendered in the browser does not depend on it.
export default {
  basePath: process.env.BASE.slice(0, -1),
  output: process.env.OUTPUT,
  trailingSlash: true,
  serverExternalPackages: process.env.BUNDLED ? [] : ["llava-web"],
};
