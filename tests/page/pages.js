// Makes the pages that the tests open, with the program itself, in target/page.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
export const directory = join(root, "target/page");

/// The address of a page.
export const page = (name) => "file://" + join(directory, `${name}.html`);

/// Where a screenshot of it goes.
export const picture = (name) => join(directory, `${name}.png`);

const hopwise = (status, ...args) => {
  try {
    execFileSync(process.env.HOPWISE_BIN, [...args, "--quiet"], { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
    if (status !== 0) throw new Error(`hopwise ${args.join(" ")} passes, and should not`);
  } catch (error) {
    if (error.status !== status) throw error;
  }
};

export default () => {
  mkdirSync(directory, { recursive: true });
  const to = (name) => ["--html", join(directory, `${name}.html`)];
  hopwise(0, "run", "scenarios/nodeport-vs-loadbalancer.yaml", ...to("ways"));
  hopwise(0, "run", "scenarios/leader-node-lost.yaml", ...to("faults"));
  // Without its Service, the listener for outside is closed.
  hopwise(1, "check", "-f", "tests/fixtures/brokers.yaml", ...to("closed"));
};
