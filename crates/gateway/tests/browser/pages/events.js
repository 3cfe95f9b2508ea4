/**
 * A browser's own EventSource, whose node is killed: `node pages/events.js http://nginx name=url=pid [name=url=pid …]` with the
 * nodes behind that nginx. It comes back by itself, on another node, and gets everything once and in order.
 */

import assert from "node:assert/strict";
import { launch, open } from "./browser.js";

const [entry, ...given] = process.argv.slice(2);
const nodes = given.map((text) => text.split("="));
if (entry === undefined || nodes.length < 2) {
  console.error("usage: node pages/events.js <nginx URL> <node>=<URL>=<pid> <node>=<URL>=<pid> …");
  process.exit(64);
}

const channels = ["one", "two"].map((name) => `events-${Date.now().toString(36).slice(-4)}:${name}`);

/** Said in each channel before, around and after the kill. */
const PART = 40;

const browser = await launch();
try {
  const { page } = await open(browser, entry);
  await page.evaluate((names) => {
    const query = names.map((name) => `channel=${encodeURIComponent(name)}`).join("&");
    globalThis.heard = { objects: [], closes: [] };
    globalThis.events = new EventSource(`/sse?${query}`);
    globalThis.events.onmessage = (event) => globalThis.heard.objects.push(JSON.parse(event.data));
    globalThis.events.addEventListener("close", (event) => globalThis.heard.closes.push(JSON.parse(event.data)));
  }, channels);
  const standing = (count) => page.waitForFunction(
    (wanted) => globalThis.heard.objects.filter((object) => object.type === "subscribed").length >= wanted, count);
  await standing(2);
  const first = await page.evaluate(() => globalThis.heard.objects[0]);
  assert.equal(first.type, "welcome");
  const his = nodes.find(([name]) => first.node.startsWith(name));
  assert.ok(his !== undefined, `the stream is on ${first.node}`);
  const [, url] = nodes.find(([name]) => name !== his[0]);

  const say = async (from) => {
    for (let number = from; number < from + PART; number += 1) {
      for (const channel of channels) {
        const body = JSON.stringify({ channel, data: number });
        const headers = { "content-type": "application/json" };
        const answer = await fetch(`${url}/publish`, { method: "POST", headers, body });
        assert.equal(answer.status, 200, await answer.text());
      }
    }
  };
  await say(0);
  const speaking = say(PART);
  process.kill(Number(his[2]), "SIGKILL");
  await speaking;
  await standing(4);
  await say(2 * PART);
  const said = Array.from({ length: 3 * PART }, (_, number) => number);
  const of = (channel) => page.evaluate((name) => globalThis.heard.objects
    .filter((object) => object.type === "publication" && object.channel === name).map((object) => object.data), channel);
  await page.waitForFunction((wanted) =>
    globalThis.heard.objects.filter((object) => object.type === "publication").length >= wanted, 2 * said.length);
  for (const channel of channels) assert.deepEqual(await of(channel), said, channel);
  const recovered = await page.evaluate(() =>
    globalThis.heard.objects.filter((object) => object.type === "subscribed").map((object) => object.recovered));
  assert.deepEqual(recovered, [false, false, true, true]);
  const nowOn = await page.evaluate(() =>
    globalThis.heard.objects.filter((object) => object.type === "welcome").at(-1).node);
  assert.ok(!nowOn.startsWith(his[0]), `it is on ${nowOn}`);
  console.log(`ok  ${his[0]} was killed under an EventSource; on another node nothing is missing and nothing comes twice`);
} finally {
  await browser.close();
}
