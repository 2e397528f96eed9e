// The report: one script and one style sheet, which `pystematic report` puts into a single file.
import { defineConfig } from "vite";

export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none", charset: "ascii" },
  build: {
    outDir: "../src/pystematic/web/static",
    emptyOutDir: false,
    copyPublicDir: false,
    target: "es2022",
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 900,
    rollupOptions: {
      input: "src/report.tsx",
      output: {
        format: "iife",
        inlineDynamicImports: true,
        entryFileNames: "report.js",
        assetFileNames: "report.[ext]",
      },
    },
  },
});
