// Makes the pictures of docs/page.md anew: `node tests/page/pictures.js`, after tests/page/run.sh and tests/captures/run.sh,
// with HOPWISE_BIN and CHROMIUM as there.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "@playwright/test";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const target = join(root, "target/page");
const pictures = join(root, "docs/pictures");
const scenario = "scenarios/nodeport-vs-loadbalancer.yaml";

/// What of the trace is shown: microseconds from the first produce request on.
const WINDOW = { from: 1_395_000, lasts: 46_000 };
const COLOURS = { request: "#2b6cd4", part: "#7aaeff", hop: "#1e8a5f" };

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

/// Tracks, spans and arrows of the produce requests of a trace as a viewer lays them out: a band for each host, a row for each of its threads.
const drawTrace = ({ traceEvents }) => {
  const start = Math.min(...traceEvents.filter((it) => it.cat === "request" && it.name === "produce").map((it) => it.ts));
  const [from, to] = [start + WINDOW.from, start + WINDOW.from + WINDOW.lasts];
  const named = (name, key) => new Map(traceEvents.filter((it) => it.name === name).map((it) => [key(it), it.args]));
  const hosts = named("process_name", (it) => it.pid);
  const order = named("process_sort_index", (it) => it.pid);
  const threads = named("thread_name", (it) => `${it.pid}/${it.tid}`);
  const shown = (it) => threads.get(`${it.pid}/${it.tid}`)?.name.startsWith("produce");
  const inside = traceEvents.filter((it) => it.ph !== "M" && shown(it) && it.ts + (it.dur ?? 0) >= from && it.ts <= to);
  const rows = [...new Set(inside.filter((it) => it.ph === "X").map((it) => `${it.pid}/${it.tid}`))];
  const rank = (row) => { const pid = +row.split("/")[0]; return [order.get(pid).sort_index, hosts.get(pid).name, threads.get(row).name]; };
  rows.sort((a, b) => { const [x, y] = [rank(a), rank(b)]; return x[0] - y[0] || (x[1] + x[2]).localeCompare(y[1] + y[2]); });
  const [left, height, width] = [420, 17, 1000];
  const x = (ts) => left + ((Math.min(Math.max(ts, from), to) - from) / (to - from)) * width;
  const places = new Map();
  let [y, svg, host] = [34, "", null];
  for (const row of rows) {
    const name = hosts.get(+row.split("/")[0]).name;
    if (name !== host) {
      y += 8;
      svg += `<line x1="0" x2="${left + width}" y1="${y}" y2="${y}" stroke="#dde2ea"/><text x="6" y="${y + 13}" font-weight="600">${escape(name)}</text>`;
      host = name;
    }
    svg += `<text x="${left - 8}" y="${y + 13}" text-anchor="end" fill="#5b6676">${escape(threads.get(row).name.replace(/^produce of /, ""))}</text>`;
    places.set(row, y);
    y += height;
  }
  for (const it of inside.filter((it) => it.ph === "X")) {
    const top = places.get(`${it.pid}/${it.tid}`);
    const wide = Math.max(x(it.ts + it.dur) - x(it.ts), 1.5);
    const inner = it.cat === "part" ? 4 : 0;
    svg += `<rect x="${x(it.ts)}" y="${top + 2 + inner}" width="${wide}" height="${height - 4 - 2 * inner}" fill="${COLOURS[it.cat]}" rx="2"/>`;
    if (it.cat !== "part" && wide > 60) svg += `<text x="${x(it.ts) + 5}" y="${top + 12.5}" fill="#fff" font-size="10.5">${escape(it.name)}</text>`;
  }
  const flows = new Map();
  for (const it of inside.filter((it) => "stf".includes(it.ph))) flows.set(it.id, [...(flows.get(it.id) ?? []), it]);
  for (const hops of flows.values()) {
    const points = hops.map((it) => `${x(it.ts).toFixed(1)},${places.get(`${it.pid}/${it.tid}`) + height / 2}`);
    svg += `<polyline points="${points.join(" ")}" fill="none" stroke="#d15b16" stroke-width="1.1" opacity="0.75"/>`;
  }
  for (let part = 0; part <= 5; part++) {
    const ts = from + ((to - from) * part) / 5;
    svg += `<text x="${x(ts)}" y="18" text-anchor="middle" fill="#5b6676">${((ts - start) / 1000).toFixed(0)} ms</text>`;
  }
  const size = { width: left + width + 30, height: y + 14 };
  return { size, html: `<body style="margin:0;background:#fff"><svg width="${size.width}" height="${size.height}" font-family="sans-serif" font-size="12">${svg}</svg>` };
};

/// A capture as a list of packets and one of them in full.
const drawCapture = () => {
  const file = join(root, "target/captures/tls/secured_redpanda-0.pcapng");
  const args = ["-r", file, "-o", `tls.keylog_file:${join(root, "target/captures/tls/tls-keys.log")}`];
  for (const port of [9093, 9094]) args.push("-d", `tcp.port==${port},tls`, "-d", `tls.port==${port},kafka`);
  const tshark = (...more) => execFileSync("tshark", [...args, ...more], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const list = tshark("-Y", "tcp.stream == 0 && (tls || kafka)").trimEnd().split("\n").slice(0, 14);
  const whole = tshark("-Y", "kafka.api_key == 0", "-c", "400", "-O", "kafka").split("\n\n")[0].split("\n").slice(0, 26);
  const text = `$ tshark -r secured_redpanda-0.pcapng -o tls.keylog_file:tls-keys.log -d tls.port==9093,kafka ...\n${list.join("\n")}\n\n${whole.join("\n")}`;
  return { size: { width: 1120, height: 800 }, html: `<body style="margin:0;background:#12161d;color:#e8ecf2"><pre style="margin:0;padding:18px;width:max-content;font:12.5px/1.45 monospace">${escape(text)}</pre>` };
};

mkdirSync(pictures, { recursive: true });
mkdirSync(target, { recursive: true });
const trace = join(target, "ways.trace.json");
execFileSync(process.env.HOPWISE_BIN, ["run", scenario, "--quiet", "--html", join(target, "ways.html"), "--trace", trace], { cwd: root });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || undefined, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
/// The upper part of an element, so that pictures stay small.
const shoot = async (locator, name, height = 900) => {
  await locator.page().evaluate(() => scrollTo(0, 0));
  const { x, y, ...size } = await locator.boundingBox();
  const clip = { x, y, width: size.width, height: Math.min(size.height, height) };
  await locator.page().screenshot({ path: join(pictures, `${name}.png`), clip, fullPage: true });
};

const page = await browser.newPage({ viewport: { width: 1180, height: 900 }, reducedMotion: "reduce" });
await page.goto("file://" + join(target, "ways.html"));
await page.locator("label.way", { hasText: "loadbalancer → broker 0" }).click();
await page.mouse.move(0, 0);
await shoot(page.locator("#routes"), "page-routes", 860);
await shoot(page.locator("#latency figure").nth(1), "page-latency");
const faults = await browser.newPage({ viewport: { width: 1180, height: 900 }, colorScheme: "dark", reducedMotion: "reduce" });
await faults.goto("file://" + join(target, "faults.html"));
await shoot(faults.locator("#routes"), "page-failed-route", 900);
await shoot(faults.locator("#timeline figure"), "page-timeline");

for (const [name, { html, size }] of [["trace", drawTrace(JSON.parse(readFileSync(trace, "utf8")))], ["capture", drawCapture()]]) {
  const drawn = await browser.newPage({ viewport: size });
  await drawn.setContent(html);
  await shoot(drawn.locator("svg, pre").first(), name);
}
await browser.close();
