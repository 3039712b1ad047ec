import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

declare const process: { env: Record<string, string | undefined> };

// Relative addresses, so that the same build works below any path: the api writes the <base>.
export default defineConfig({
  base: "./",
  plugins: [react()],
  build: {
    outDir: "../services/api/src/kirby_api/static",
    emptyOutDir: true,
    target: "es2022",
    chunkSizeWarningLimit: 700,
    // A data: address would need a weaker content security policy.
    assetsInlineLimit: 0,
  },
  server: {
    proxy: {
      "/api": process.env.KIRBY_URL ?? "http://127.0.0.1:8080",
      "/login-link": process.env.KIRBY_URL ?? "http://127.0.0.1:8080",
    },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
