// A Chromium that is driven from outside: a JSON command on each line of stdin, a JSON answer on each line of stdout.
//
//   node driver.mjs <Chromium>
//
// A command is {"id", "do", "on", "with"}, where `on` is the handle of a profile (a browser of somebody's, with cookies of its
// own) or of one of its tabs, and the answer to it {"id", "value"} or {"id", "failed"}. Commands are done as they come, each
// without waiting for the one before. It ends when stdin does.

import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const options = {
  executablePath: process.argv[2],
  chromiumSandbox: false,
  args: [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // The hosts of the tests are here, and there are no others.
    "--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
  ],
};
const browser = await chromium.launch(options);
const folders = [];

const handles = new Map();
function handle(object) {
  for (const [number, known] of handles) if (known === object) return number;
  handles.set(handles.size + 1, object);
  return handles.size;
}

/** A browser that keeps no cookies of anybody, as people can set theirs. */
async function withoutCookies(settings) {
  const folder = await mkdtemp(join(tmpdir(), "profile-"));
  folders.push(folder);
  await mkdir(join(folder, "Default"));
  const preferences = { profile: { default_content_setting_values: { cookies: 2 } } };
  await writeFile(join(folder, "Default", "Preferences"), JSON.stringify(preferences));
  return chromium.launchPersistentContext(folder, { ...options, ...settings });
}

const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };

/** What axe finds, in light and in dark, and how far the page is wider than the narrowest screen; with pictures. */
async function inspect(page, { name, folder }) {
  const found = [];
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const [device, size] of Object.entries(SIZES)) {
      await page.setViewportSize(size);
      await page.screenshot({ path: join(folder, `${name}-${scheme}-${device}.png`), fullPage: true });
    }
    await page.evaluate(axe);
    const result = await page.evaluate(() =>
      axe.run(document, { preload: false, resultTypes: ["violations"], rules: { "target-size": { enabled: true } } }),
    );
    for (const { id, impact, help, nodes } of result.violations) {
      found.push({ scheme, id, impact, help, where: nodes.map((node) => node.html) });
    }
  }
  await page.setViewportSize({ width: 320, height: 640 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await page.setViewportSize(SIZES.desktop);
  return { found, overflow };
}

/** What has the focus, and how it can be seen. */
function focused() {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const style = getComputedStyle(element);
  const visible = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return { name: element.labels?.[0]?.innerText ?? element.innerText, element: element.localName, visible };
}

const exactly = (role) => (page, name) => page.getByRole(role, { name, exact: true });
const button = exactly("button");

const commands = {
  profile: async (_, { scripts, cookies, headers }) => {
    const settings = { javaScriptEnabled: scripts, ignoreHTTPSErrors: true, extraHTTPHeaders: headers };
    const profile = cookies ? await browser.newContext(settings) : await withoutCookies(settings);
    profile.setDefaultTimeout(30_000);
    profile.asked = [];
    profile.on("request", (request) => profile.asked.push(request.url()));
    return handle(profile);
  },
  close: (profile) => profile.close(),
  tab: async (profile) => handle(await profile.newPage()),
  cookies: (profile) => profile.cookies(),
  plant: (profile, cookies) => profile.addCookies(cookies),
  asked: (profile) => profile.asked,

  open: async (page, url) => {
    await page.goto(url);
  },
  back: async (page) => {
    await page.goBack();
  },
  reload: async (page) => {
    await page.reload();
  },
  url: (page) => page.url(),
  title: (page) => page.title(),
  text: (page) => page.locator("body").innerText(),
  arrives: async (page, prefix) => {
    await page.waitForURL((url) => url.href.startsWith(prefix));
    return page.url();
  },
  shows: (page, heading) => exactly("heading")(page, heading).waitFor(),
  press: (page, name) => button(page, name).click(),
  pressTwice: (page, name) => button(page, name).dblclick(),
  follow: (page, name) => exactly("link")(page, name).click(),
  write: (page, { label, text }) => page.getByLabel(label, { exact: true }).fill(text),
  tick: (page) => page.getByRole("checkbox").check(),
  key: (page, key) => page.keyboard.press(key),
  focused: (page) => page.evaluate(focused),
  operable: (page) => page.locator("a[href], button, input:not([type=hidden]), select, textarea, summary").count(),
  opens: async (page, url) => {
    const opened = page.waitForEvent("popup");
    await page.evaluate((url) => void (window.opened = open(url)), url);
    return handle(await opened);
  },
  evaluate: (page, expression) => page.evaluate(expression),
  frames: (page) => page.frames().slice(1).map((frame) => frame.url()),
  inspect,
  // As if somebody had found a way to write into the page: its headers stay as they are.
  inject: (page, markup) =>
    page.route("**/*", async (route) => {
      if (route.request().resourceType() !== "document") return route.continue();
      try {
        const response = await route.fetch({ maxRedirects: 0 });
        const body = (await response.text()).replace("</main>", `${markup}</main>`);
        return await route.fulfill({ response, body });
      } catch {
        // It shows nothing then, and the test says so.
        return route.abort();
      }
    }),
};

/** Nobody waits for ever, whatever a page does. */
function bounded(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("no end after two minutes")), 120_000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function run({ id, do: command, on, with: argument }) {
  let answer;
  try {
    answer = { id, value: (await bounded(commands[command](handles.get(on), argument))) ?? null };
  } catch (error) {
    const page = handles.get(on);
    const where = page?.url ? `\nat ${page.url()}\n${await page.locator("body").innerText().catch(() => "")}` : "";
    answer = { id, failed: `${command}: ${error.message}${where}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

// Whoever asked may have gone before the answer.
process.stdout.on("error", () => {});
for await (const line of createInterface({ input: process.stdin })) run(JSON.parse(line));
await browser.close();
for (const folder of folders) await rm(folder, { recursive: true, force: true });
process.exit();
