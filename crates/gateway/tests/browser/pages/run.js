/**
 * Drives the pages of running gateways in a browser, as two people on two nodes would:
 * `npm run pages -- http://node-a http://node-b [directory for screenshots]`. The nodes may be one. Their settings are
 * the defaults: anybody may connect, and a channel keeps 100 publications.
 */

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { allFaults, launch, open, person, reads } from "./browser.js";
import { hostile } from "./hostile.js";
import { polling } from "./polling.js";
import { startProxy } from "./proxy.js";

const [first, second = first, shots] = process.argv.slice(2);
if (first === undefined) {
  console.error("usage: npm run pages -- <gateway URL> [<gateway URL>] [<directory for screenshots>]");
  process.exit(64);
}
if (shots !== undefined) mkdirSync(shots, { recursive: true });

/** A channel of this run alone. */
const room = `tea-${Date.now().toString(36).slice(-4)}`;
const channel = `chat:${room}`;

/** More publications than a channel keeps: Redis forgets them by the hundred. */
const MANY = 330;

/** What a page must not take for markup. */
const markup = '<img src=x onerror="alert(1)"><b>not bold</b>';

const shoot = async (page, name) => {
  if (shots !== undefined) await page.screenshot({ path: join(shots, `${name}.png`) });
};

async function step(what, run) {
  const began = performance.now();
  await run();
  console.log(`ok  ${what} (${Math.round(performance.now() - began)} ms)`);
}

/** Publishes from a page, over a connection of its own. */
function publishMany(page, to, count) {
  return page.evaluate(
    async ([name, total]) => {
      const { Gateway } = await import("./client.js");
      const gateway = new Gateway(new URL("ws", document.baseURI).href);
      await gateway.connect();
      for (let number = 1; number <= total; number += 1) {
        await gateway.publish(name, { text: `message ${number}`, name: "Ben" });
      }
      gateway.close();
    },
    [to, count],
  );
}

async function chat(browser, proxy) {
  const ann = await person(browser, proxy.url, channel, "Ann");
  const ben = await person(browser, second, channel, "Ben", { colorScheme: "dark" });
  const people = [ann, ben];

  await step("both are here and know each other's names", async () => {
    await Promise.all([ann.sees(["Ann", "Ben"]), ben.sees(["Ben", "Ann"])]);
    await reads(ann.page, "#people-title", "2 are here");
    await reads(ben.page, "#people-title", "2 are here");
  });

  const said = ["Good morning! Is the kettle on?", "Nearly. Two minutes, and there are scones."];
  await step("what one says the other hears", async () => {
    await ann.say(said[0]);
    await ben.hears(said.slice(0, 1));
    await ben.say(said[1]);
    await Promise.all(people.map((one) => one.hears(said)));
  });

  await step("markup is shown as text and does nothing", async () => {
    said.push(markup);
    await ann.say(markup);
    await Promise.all(people.map((one) => one.hears(said)));
    for (const { page } of people) assert.equal(await page.locator("#log img, #log .text b").count(), 0);
  });

  await step("a name of markup is text as well", async () => {
    await ben.page.locator("#settings-open").click();
    await ben.page.locator("#name").fill("<i>Ben</i>");
    await ben.page.keyboard.press("Enter");
    await ann.sees(["Ann", "<i>Ben</i>"]);
    assert.equal(await ann.page.locator("#members i").count(), 0);
    await ben.page.locator("#settings-open").click();
    await ben.page.locator("#name").fill("Ben");
    await ben.page.keyboard.press("Enter");
    await ann.sees(["Ann", "Ben"]);
  });

  await step("somebody who types is seen typing, until it is said", async () => {
    await ben.page.locator("#words").pressSequentially("Come in");
    await reads(ann.page, "#typing", "Ben is typing…");
    await shoot(ann.page, "chat-light");
    await ben.page.keyboard.press("Enter");
    said.push("Come in");
    await ann.hears(said);
    await reads(ann.page, "#typing", "");
    await shoot(ben.page, "chat-dark");
  });

  await step("a private message reaches the one it is for", async () => {
    await ben.page.getByRole("button", { name: "Ann" }).click();
    await reads(ben.page, "#title", "Ann");
    await ben.say("A word between us: the jam is hidden.");
    await reads(ann.page, "#privates .count", "1");
    await ann.hears(said);
    await ann.page.locator("#privates a").click();
    await ann.hears(["A word between us: the jam is hidden."]);
    await ann.say("Behind the oats?");
    await ben.hears(["A word between us: the jam is hidden.", "Behind the oats?"]);
    await shoot(ann.page, "private-light");
    await Promise.all(people.map(({ page }) => page.locator("#channels a", { hasText: room }).click()));
    await ann.hears(said);
  });

  await step("after the connection broke nothing is missing and nothing comes twice", async () => {
    proxy.cut();
    await reads(ann.page, "#status", /^(reconnecting|connecting)/);
    await ben.say("Are you there?");
    await ben.say("The scones are getting cold.");
    await ann.say("My train went into a tunnel");
    await ann.page.getByText("not sent yet").waitFor();
    await reads(ann.page, "#status", /^reconnecting in/);
    await shoot(ann.page, "away-light");
    proxy.mend();
    await reads(ann.page, "#status", /^connected to /);
    said.push("Are you there?", "The scones are getting cold.", "My train went into a tunnel");
    await Promise.all(people.map((one) => one.hears(said)));
    assert.equal(await ann.page.locator("#entries .note.gap").count(), 0, "nothing was lost");
    await Promise.all([ann.sees(["Ann", "Ben"]), ben.sees(["Ben", "Ann"])]);
  });

  await step("who comes later reads what was said", async () => {
    const phone = { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
    const eve = await person(browser, second, channel, "Eve", phone);
    await eve.hears(said);
    await reads(eve.page, "#people-count", "3");
    await shoot(eve.page, "chat-phone");
    await eve.page.locator("[data-drawer=places][aria-controls]").click();
    await eve.page.locator("#join-name").fill("garden");
    await shoot(eve.page, "places-phone");
    await eve.page.keyboard.press("Enter");
    await reads(eve.page, "#title", "garden");
    await ann.say("A message for the other channel");
    said.push("A message for the other channel");
    await reads(eve.page, "#unread-elsewhere", "1");
    await eve.page.goBack();
    await eve.hears(said);
    await eve.page.locator("#people-open").click();
    await eve.sees(["Eve", "Ann", "Ben"]);
    await shoot(eve.page, "people-phone");
    people.push(eve);
  });

  await step("what the gateway has forgotten meanwhile is not passed over in silence", async () => {
    const other = `${channel}-busy`;
    await ann.page.evaluate((hash) => (location.hash = hash), other);
    await ben.page.evaluate((hash) => (location.hash = hash), other);
    await ann.sees(["Ann", "Ben"]);
    await ann.say("first");
    await ben.hears(["first"]);
    proxy.cut();
    await reads(ann.page, "#status", /^(reconnecting|connecting)/);
    await publishMany(ben.page, other, MANY);
    proxy.mend();
    await reads(ann.page, "#entries .gap", /^\d+ messages are missing here\. /);
    await ann.page.getByText(`message ${MANY}`, { exact: true }).waitFor();
    const [before, ...after] = await ann.heard();
    assert.equal(before, "first");
    const numbers = after.map((text) => Number(text.replace("message ", "")));
    assert.ok(numbers.length >= 100, `${numbers.length} are left`);
    assert.deepEqual(numbers, numbers.map((_, index) => MANY + 1 - numbers.length + index));
    await shoot(ann.page, "gap-light-end");
    await ann.page.locator("#entries .gap").scrollIntoViewIfNeeded();
    await shoot(ann.page, "gap-light");
    await Promise.all([ann, ben].map(({ page }) => page.locator("#channels a", { hasText: room }).first().click()));
  });

  await step("who leaves is not here any more", async () => {
    await people[2].page.context().close();
    await reads(ann.page, "#people-title", "2 are here");
  });
  for (const { name, faults } of people) assert.deepEqual(faults, [], `faults of ${name}'s page`);
}

async function frontPage(browser) {
  const { page, faults } = await open(browser, `${first}/`, { viewport: { width: 1180, height: 1500 } });
  await step("the front page tells what it is connected to", async () => {
    await reads(page, "#status", /^connected to /);
    await reads(page, "#round-trip", /^[\d.]+ ms$/);
    await reads(page, "#command-listen", /^npx wscat -c ws:\/\/.*subscribe/);
  });
  await step("by hand one sees every message", async () => {
    await page.locator("#hand-toggle").click();
    await page.locator("#hand-channel").fill(`${channel}-by-hand`);
    await page.locator("#hand-subscribe button").click();
    await page.locator("#hand-data").fill('{"text":"<u>by hand</u>"}');
    await page.locator("#hand-publish button").click();
    await page.locator("#hand-frames .in", { hasText: '"type":"published"' }).waitFor();
    await page.locator("#hand-frames .in", { hasText: '"data":{"text":"<u>by hand</u>"}' }).waitFor();
    await page.locator("#hand-frame").fill("hello");
    await page.locator("#hand-send button").click();
    await page.locator("#hand-frames .in", { hasText: '"code":"bad_request"' }).waitFor();
    assert.equal(await page.locator("#hand-frames u").count(), 0);
    await shoot(page, "home-light");
    await page.locator("#hand-toggle").click();
    await page.locator("#hand-frames .note", { hasText: "closed with 1000" }).waitFor();
  });
  await page.emulateMedia({ colorScheme: "dark" });
  await shoot(page, "home-dark");
  await page.setViewportSize({ width: 390, height: 1500 });
  await shoot(page, "home-phone");
  await step("it leads to the chat", async () => {
    await page.getByRole("link", { name: "Open the chat" }).click();
    await page.locator("#name").waitFor();
    await shoot(page, "name-phone");
  });
  assert.deepEqual(faults, [], "faults of the front page");
}

const browser = await launch();
const proxy = await startProxy(first);
try {
  await frontPage(browser);
  await chat(browser, proxy);
  await hostile(browser, [first, second], step);
  await polling(browser, [first, second], step);
} catch (error) {
  console.error("what the pages told:", allFaults);
  throw error;
} finally {
  await browser.close();
  await proxy.stop();
}
