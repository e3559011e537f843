export default { basePath: process.env.BASE.slice(0, -1), output: process.env.OUTPUT, trailingSlash: true };
