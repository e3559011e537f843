// Vite up to 7 moves packages in development, away from their files.
export default { optimizeDeps: { exclude: ["llava-web"] } };
