/** A browser whose pages report every fault, and what people do in the chat. */

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

/** How long anything on a page may take, in ms. */
const TIMEOUT_MS = 20_000;

/** Chromium, without anything that it would do on its own. */
export function launch() {
  const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
  const args = ["--no-sandbox", "--disable-gpu", "--no-first-run", ...quiet];
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args });
}

/** What went wrong in any page, for whoever looks for the cause of something else. */
export const allFaults = [];

/**
 * A page of a person of its own. `faults` gathers what went wrong in it, but for connections that could not be made.
 */
export async function open(browser, url, options = {}) {
  const viewport = { width: 1180, height: 760 };
  const context = await browser.newContext({ viewport, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  const faults = [];
  allFaults.push({ url, faults });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("dialog", (dialog) => {
    faults.push(`a script opened a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("console", (message) => {
    const isLostConnection = /WebSocket connection to .* failed|ERR_CONNECTION|ERR_EMPTY_RESPONSE/.test(message.text());
    if (message.type() === "error" && !isLostConnection) faults.push(message.text());
  });
  page.on("requestfailed", (request) => allFaults.push(`${request.failure().errorText}: ${request.url()}`));
  page.on("request", (request) => {
    if (new URL(request.url()).host !== new URL(url).host) faults.push(`it asked another host: ${request.url()}`);
  });
  await page.goto(url);
  return { page, faults };
}

/** Waits until the element's text is this, or fits this pattern. */
export async function reads(page, selector, wanted) {
  const pattern = wanted instanceof RegExp ? { source: wanted.source } : { text: wanted };
  const matches = ([at, { source, text }]) => {
    const is = document.querySelector(at)?.textContent.trim();
    return is !== undefined && (source === undefined ? is === text : new RegExp(source).test(is));
  };
  try {
    await page.waitForFunction(matches, [selector, pattern]);
  } catch {
    const is = await page.evaluate((at) => document.querySelector(at)?.textContent.trim(), selector);
    assert.fail(`${selector} should read ${wanted}, and reads ${is}`);
  }
}

/** A person in a channel of the chat. */
export async function person(browser, origin, channel, name, options) {
  const { page, faults } = await open(browser, `${origin}/chat#${channel}`, options);
  await page.locator("#name").fill(name);
  await page.keyboard.press("Enter");
  await reads(page, "#status", /^connected to /);
  await reads(page, "#my-name", name);
  return {
    page,
    faults,
    name,
    say: async (text) => {
      await page.locator("#words").fill(text);
      await page.keyboard.press("Enter");
    },
    /** All that was said in the conversation that is open, in its order. */
    heard: () => page.locator("#entries .said .text").allTextContents(),
    /** Waits until exactly this has been said and none of it waits any more. */
    async hears(texts) {
      const same = (wanted) => {
        const is = [...document.querySelectorAll("#entries .said .text")].map((element) => element.textContent);
        return !document.querySelector("#entries .sending") && JSON.stringify(is) === JSON.stringify(wanted);
      };
      await page.waitForFunction(same, texts).catch(() => {});
      assert.deepEqual(await this.heard(), texts, `what ${name} hears`);
    },
    /** Waits until this is the list of who is here, oneself first. */
    async sees(names) {
      const list = "#members .clip";
      const same = ([at, wanted]) => {
        const is = [...document.querySelectorAll(at)].map((element) => element.textContent);
        return JSON.stringify(is) === JSON.stringify(wanted);
      };
      await page.waitForFunction(same, [list, names]).catch(() => {});
      assert.deepEqual(await page.locator(list).allTextContents(), names, `whom ${name} sees`);
    },
  };
}
