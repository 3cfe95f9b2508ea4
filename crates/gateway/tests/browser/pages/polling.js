/** A network that lets no WebSocket through: the pages poll, and go back to a WebSocket without missing anything. */

import assert from "node:assert/strict";
import { person } from "./browser.js";
import { startProxy } from "./proxy.js";

/** Publications that are on their way while the one gives way to the other. */
const MANY = 60;

/** Runs it against two gateways, which may be one. */
export async function polling(browser, [first, second], step) {
  const channel = `chat:polled-${Date.now().toString(36).slice(-4)}`;
  const proxy = await startProxy(first);
  proxy.passWebSockets(false);
  const ann = await person(browser, proxy.url, channel, "Ann");
  const ben = await person(browser, second, channel, "Ben");
  const said = [];

  await step("who gets no WebSocket polls, and notices nothing else", async () => {
    assert.ok(proxy.refused >= 2, `${proxy.refused} handshakes were refused`);
    await Promise.all([ann.sees(["Ann", "Ben"]), ben.sees(["Ben", "Ann"])]);
    for (const one of [ann, ben, ann, ben]) {
      said.push(`${one.name} says ${said.length}`);
      await one.say(said.at(-1));
      await Promise.all([ann.hears(said), ben.hears(said)]);
    }
  });

  await step("back on a WebSocket nothing was missed and nothing came twice", async () => {
    await ann.page.evaluate(follow, `${channel}-numbers`);
    await ben.page.evaluate(count, [`${channel}-numbers`, 0, MANY]);
    proxy.passWebSockets(true);
    await ben.page.evaluate(count, [`${channel}-numbers`, MANY, MANY]);
    await ann.page.waitForFunction(() => globalThis.followed.gateway.transport === "websocket");
    await ben.page.evaluate(count, [`${channel}-numbers`, 2 * MANY, MANY]);
    await ann.page.waitForFunction((last) => globalThis.followed.heard.at(-1) === last, 3 * MANY - 1).catch(() => {});
    const { heard, ways } = await ann.page.evaluate(() => {
      const { heard: numbers, ways: transports } = globalThis.followed;
      return { heard: numbers, ways: transports };
    });
    assert.deepEqual(heard, Array.from({ length: 3 * MANY }, (_, number) => number));
    assert.deepEqual(ways, ["poll", "websocket"]);
  });

  await step("who polls and leaves the page is gone at once", async () => {
    await ann.page.goto("about:blank");
    await ben.sees(["Ben"]);
  });
  for (const { name, faults } of [ann, ben]) assert.deepEqual(faults, [], `faults of ${name}'s page`);
  await Promise.all([ann, ben].map(({ page }) => page.context().close()));
  await proxy.stop();
}

/** In a page: hears the numbers of a channel by polling, and tries a WebSocket each second instead of each minute. */
async function follow(channel) {
  const { Gateway } = await import("./client.js");
  const clock = {
    now: () => performance.now(),
    setTimeout: (run, ms) => setTimeout(run, ms >= 60_000 ? 1000 : ms),
    clearTimeout: (timer) => clearTimeout(timer),
  };
  const gateway = new Gateway(new URL("ws", document.baseURI).href, { clock });
  const [heard, ways] = [[], []];
  gateway.addEventListener("state", ({ detail }) => detail.state === "connected" && ways.push(detail.transport));
  await gateway.connect();
  await new Promise((resolve) => {
    const onPublication = ({ data }) => heard.push(data);
    gateway.subscribe(channel, { onSubscribed: resolve, onPublication, onGap: (gap) => heard.push(gap) });
  });
  globalThis.followed = { gateway, heard, ways };
}

/** In a page: publishes numbers. */
async function count([channel, from, total]) {
  const { Gateway } = await import("./client.js");
  const gateway = new Gateway(new URL("ws", document.baseURI).href);
  await gateway.connect();
  for (let number = from; number < from + total; number += 1) await gateway.publish(channel, number);
  gateway.close();
}
