/**
 * The chat and the drawing board of a gateway that asks for tokens: `node pages/login.js <gateway program> [directory for
 * screenshots]`. The gateway is started here with a secret of its own, and `gateway token` mints what people log in with.
 */

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { launch, open, reads } from "./browser.js";

const [program, shots] = process.argv.slice(2);
if (program === undefined) {
  console.error("usage: node pages/login.js <gateway program> [<directory for screenshots>]");
  process.exit(64);
}

const settings = {
  GW_AUTH__HMAC_SECRET: "a secret of this test alone, 32 bytes",
  GW_LISTEN: "127.0.0.1:0",
  GW_ADMIN__LISTEN: "127.0.0.1:0",
  GW_DRAIN__WINDOW: "0s",
};
const env = { ...process.env, ...settings };
const token = (...more) => execFileSync(program, ["token", ...more], { env, encoding: "utf8" }).trim();

const gateway = spawn(program, [], { env, stdio: ["ignore", "pipe", "inherit"] });
const ended = once(gateway, "exit");
let browser;
try {
  const url = await new Promise((resolve, reject) => {
    ended.then(([code]) => reject(new Error(`the gateway ended with ${code}`)));
    const lines = createInterface({ input: gateway.stdout });
    lines.on("line", (line) => {
      const found = line.match(/try it\s+(http:\S+?)\/?\s/);
      if (found) resolve(found[1]);
    });
  });
  browser = await launch();
  const { page, faults } = await open(browser, `${url}/chat`);
  await page.locator("#name").fill("Ann");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#settings[open] #token-details[open]");
  if (shots !== undefined) await page.screenshot({ path: join(shots, "login.png") });

  const logIn = async (shown) => {
    if (!(await page.locator("#settings").evaluate((dialog) => dialog.open))) await page.locator("#settings-open").click();
    if (!(await page.locator("#token-details").evaluate((details) => details.open))) {
      await page.locator("#token-details summary").click();
    }
    await page.locator("#token").fill(shown);
    await page.keyboard.press("Enter");
  };
  await logIn("not.a.token");
  await reads(page, "#status", /^not connected/);
  await page.waitForSelector("#settings[open] #token-details[open]");

  await logIn(token("--user", "ann", "--info", '{"name":"Ann of the token"}'));
  await reads(page, "#status", /^connected to /);
  await page.locator("#words").fill("I am in");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => {
    const said = [...document.querySelectorAll("#entries .said .text")].map((element) => element.textContent);
    return said.at(-1) === "I am in" && !document.querySelector("#entries .sending");
  });
  await reads(page, "#my-name", "Ann of the token");
  if (shots !== undefined) await page.screenshot({ path: join(shots, "logged-in.png") });
  assert.deepEqual(faults, []);

  // The board has no token of its own: the two pages share it, in one tab.
  await page.goto(`${url}/draw`);
  await reads(page, "#status", /^connected to /);
  await reads(page, "#users", "1");
  const stranger = await open(browser, `${url}/draw`);
  await stranger.page.locator("#name").fill("Ben");
  await stranger.page.keyboard.press("Enter");
  await stranger.page.waitForSelector("#settings[open] #token-details[open]");
  await reads(stranger.page, "#status", /^not connected/);
  await stranger.page.locator("#token").fill("no token at all");
  await stranger.page.keyboard.press("Enter");
  await stranger.page.waitForSelector("#settings[open]");
  await stranger.page.locator("#token").fill(token("--user", "ben"));
  await stranger.page.keyboard.press("Enter");
  await reads(stranger.page, "#status", /^connected to /);
  await reads(page, "#users", "2");
  assert.deepEqual([...faults, ...stranger.faults], []);
  console.log("ok  the chat and the board ask for a token, refuse a wrong one, and take one of `gateway token`");
} finally {
  await browser?.close();
  gateway.kill("SIGTERM");
  await ended;
}
