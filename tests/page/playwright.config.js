import { defineConfig } from "@playwright/test";

const browser = process.env.CHROMIUM;

export default defineConfig({
  testDir: ".",
  testMatch: "*.spec.js",
  outputDir: "../../target/page/results",
  globalSetup: "./pages.js",
  // The pages are made once; every test opens its own.
  fullyParallel: true,
  workers: 2,
  timeout: 60_000,
  forbidOnly: true,
  reporter: [["list"]],
  use: {
    viewport: { width: 1240, height: 900 },
    // A page that works without a network never misses it.
    offline: true,
    launchOptions: {
      executablePath: browser || undefined,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
});
