import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { expect, test } from "@playwright/test";
import { page as address, picture } from "./pages.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PAGES = ["ways", "faults", "closed"];

/// Opens a page; whatever its console says, and whatever it asks the network for, is a mistake.
const open = async (page, name, hash = "") => {
  const wrong = [];
  page.on("console", (message) => wrong.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith("file:") && !request.url().startsWith("data:")) wrong.push(`asks for ${request.url()}`);
  });
  await page.goto(address(name) + hash);
  return wrong;
};

const chosen = (page) => page.locator(".route.chosen");
const shown = (page) => page.locator("[data-detail]:visible");

for (const name of PAGES) {
  test(`${name}: opens without errors, soon and small`, async ({ page }) => {
    const wrong = await open(page, name);
    await expect(page.locator("h1")).toBeVisible();
    const opened = await page.evaluate(() => performance.getEntriesByType("navigation")[0].loadEventEnd);
    expect(opened).toBeGreaterThan(0);
    expect(opened).toBeLessThan(2000);
    expect(statSync(fileURLToPath(address(name))).size).toBeLessThan(5_000_000);
    await page.screenshot({ path: picture(`${name}-light`), fullPage: true });
    expect(wrong).toEqual([]);
  });

  for (const scheme of ["light", "dark"]) {
    test(`${name}: no barriers, ${scheme}`, async ({ page }) => {
      await page.emulateMedia({ colorScheme: scheme });
      await open(page, name);
      // Closed tables count too.
      await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
      await page.evaluate(axe);
      const { violations, passes } = await page.evaluate(() => window.axe.run(document));
      const told = violations.map((it) => `${it.id}: ${it.help}\n  ${it.nodes.map((node) => node.html).slice(0, 3).join("\n  ")}`);
      expect(told).toEqual([]);
      expect(passes.length).toBeGreaterThan(15);
    });
  }

  test(`${name}: fits a narrow screen`, async ({ page }) => {
    await page.setViewportSize({ width: 390, height: 800 });
    await open(page, name);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(wider).toBeLessThanOrEqual(0);
    await page.screenshot({ path: picture(`${name}-narrow`), fullPage: true });
  });
}

test("a route is selected with the mouse, on the list", async ({ page }) => {
  const wrong = await open(page, "ways");
  const entry = page.locator("label.way", { hasText: "loadbalancer → broker 2" });
  await entry.click();
  await expect(entry.locator("input")).toBeChecked();
  await expect(shown(page)).toHaveCount(1);
  await expect(shown(page)).toContainText("loadbalancer → broker 2");
  await expect(shown(page)).toContainText("load balancer redpanda/lb-redpanda-2");
  await expect(shown(page)).toContainText("rewrote its destination");
  // The hop that wrote another address is marked.
  await expect(shown(page).locator("mark").first()).toBeVisible();
  await expect(chosen(page)).toHaveCount(1);
  const stops = await chosen(page).locator("circle").count();
  const hops = await shown(page).locator("table").first().locator("tbody tr").count();
  expect(stops).toBe(hops);
  await page.locator("#routes").screenshot({ path: picture("route") });
  expect(wrong).toEqual([]);
});

test("a route is selected with the mouse, on the picture", async ({ page }) => {
  await open(page, "ways");
  await page.locator("#picture").scrollIntoViewIfNeeded();
  // Somewhere on a line that is not selected, where no other line lies above it.
  const at = await page.evaluate(() => {
    for (const route of document.querySelectorAll(".route:not(.chosen)")) {
      const path = route.querySelector(".hit");
      for (let part = 0.05; part < 1; part += 0.05) {
        const { x, y } = path.getPointAtLength(path.getTotalLength() * part).matrixTransform(path.getScreenCTM());
        if (document.elementFromPoint(x, y) === path) return { x, y, index: route.dataset.route };
      }
    }
    return null;
  });
  expect(at).not.toBeNull();
  await page.mouse.click(at.x, at.y);
  await expect(chosen(page)).toHaveAttribute("data-route", at.index);
  await expect(page.locator(`input[name=route][value="${at.index}"]`)).toBeChecked();
  await expect(page.locator(`[data-detail="${at.index}"]`)).toBeVisible();
  await expect(shown(page)).toHaveCount(1);
});

test("a route is selected with the keyboard, and what is shown is said", async ({ page }) => {
  await open(page, "ways");
  await page.keyboard.press("Tab");
  await expect(page.locator(".skip")).toBeFocused();
  await page.keyboard.press("Enter");
  // From the beginning of the results to the list: the picture, then the selected route.
  const list = page.locator("input[name=route]");
  for (let presses = 0; presses < 6; presses++) {
    await page.keyboard.press("Tab");
    if (await list.evaluateAll((all) => all.includes(document.activeElement))) break;
  }
  const before = await chosen(page).getAttribute("data-route");
  await page.keyboard.press("ArrowDown");
  const after = await chosen(page).getAttribute("data-route");
  expect(after).not.toBe(before);
  await expect(page.locator(`input[name=route][value="${after}"]`)).toBeFocused();
  const title = await shown(page).locator("h3").textContent();
  await expect(page.getByRole("status")).toHaveText(`Showing ${title}`);
});

test("a failed route shows its reason", async ({ page }) => {
  await open(page, "closed");
  // It comes first, and is selected.
  await expect(chosen(page)).toHaveClass(/failed/);
  await expect(shown(page).locator(".outcome")).toHaveText("refused");
  await expect(shown(page)).toContainText("no Service opens port 31094");
  await expect(shown(page)).toContainText("Fix:");
  await expect(shown(page).locator("tr.ends")).toContainText("nothing listens on port 31094");
  await expect(chosen(page).locator(".cross")).toHaveCount(1);
  await page.getByLabel("only those that fail").check();
  await expect(page.locator("label.way:visible")).toHaveCount(3);
  await page.locator("#routes").screenshot({ path: picture("failed-route") });
});

test("a run's failed route tells when and why", async ({ page }) => {
  await open(page, "faults");
  const entry = page.locator("label.way.failed").first();
  await entry.click();
  await expect(shown(page).locator(".reason")).toContainText("the machine has no power");
});

test("the page's address names a route", async ({ page }) => {
  await open(page, "ways", "#route-3");
  await expect(chosen(page)).toHaveAttribute("data-route", "2");
});

test("dark mode changes the colours of page and plots", async ({ page }) => {
  const colours = async (scheme) => {
    await page.emulateMedia({ colorScheme: scheme });
    await open(page, "faults");
    await page.screenshot({ path: picture(`faults-${scheme}`), fullPage: true });
    return page.evaluate(() => {
      const of = (selector, property) => getComputedStyle(document.querySelector(selector))[property];
      return [of("body", "backgroundColor"), of("section", "color"), of(".plot rect[fill]", "fill"), of(".plot text", "fill")];
    });
  };
  const [light, dark] = [await colours("light"), await colours("dark")];
  for (const [index, colour] of light.entries()) expect(dark[index]).not.toBe(colour);
});

test("paper has all that fails, whatever is selected", async ({ page }) => {
  await open(page, "closed");
  await page.locator("label.way:not(.failed)").first().click();
  await page.emulateMedia({ media: "print" });
  await expect(page.locator(".hops.failed").first()).toBeVisible();
  await expect(page.locator("nav").first()).toBeHidden();
  await page.pdf({ path: picture("closed").replace(".png", ".pdf"), printBackground: true });
});

test("the command that makes the page again can be copied or marked", async ({ page }) => {
  await open(page, "ways");
  await page.getByRole("button", { name: "Copy" }).click();
  await expect(page.getByRole("status")).not.toBeEmpty();
  await expect(page.locator("#replay")).toHaveText("hopwise run scenarios/nodeport-vs-loadbalancer.yaml --seed 1");
});
