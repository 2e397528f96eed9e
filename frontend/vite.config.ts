// The page: index.html and its chunks. The table comes first; charts are chunks of their own, loaded when shown.
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  build: {
    outDir: "../src/pystematic/web/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // data: addresses are not in the content security policy
    chunkSizeWarningLimit: 700,
    rollupOptions: {
      // No hashes: the server lets browsers ask each time whether a file has changed, and the history stays readable.
      output: {
        entryFileNames: "assets/[name].js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name].[ext]",
      },
    },
  },
});
