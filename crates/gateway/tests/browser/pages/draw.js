/**
 * The drawing board, as people on two nodes use it: `node pages/draw.js http://node-a http://node-b [directory for
 * screenshots]`. Their settings are the defaults: a channel keeps 100 publications, and Redis forgets them by the hundred.
 */

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { artist, drawMany, pixels, showSame } from "./artist.js";
import { allFaults, launch, open, reads } from "./browser.js";
import { startProxy } from "./proxy.js";

const [first, second = first, shots] = process.argv.slice(2);
if (first === undefined) {
  console.error("usage: node pages/draw.js <gateway URL> [<gateway URL>] [<directory for screenshots>]");
  process.exit(64);
}
if (shots !== undefined) mkdirSync(shots, { recursive: true });

const board = `sketch-${Date.now().toString(36).slice(-4)}`;

/** More messages than a channel keeps. */
const MANY = 330;

/** A name that must stay a name. */
const MARKUP = '<img src=x onerror="alert(1)">';

const shoot = async (page, name) => {
  if (shots !== undefined) await page.screenshot({ path: join(shots, `${name}.png`) });
};

async function step(what, run) {
  const began = performance.now();
  await run();
  console.log(`ok  ${what} (${Math.round(performance.now() - began)} ms)`);
}

const house = [[0.15, 0.5], [0.15, 0.3], [0.25, 0.18], [0.35, 0.3], [0.35, 0.5], [0.15, 0.5]];
const wave = Array.from({ length: 12 }, (_, index) => [0.45 + index * 0.04, 0.3 + 0.06 * Math.sin(index)]);

/** Messages that no page of ours sends. */
const SHAPES = [
  "not JSON",
  "null",
  "[1,2,3]",
  '"text"',
  '{"pieces":[null,1,{"by":"x"},{"by":"__proto__","n":1,"t":1,"color":"#000000","width":5,"points":[1,1]}]}',
  '{"pieces":[{"by":"evil","n":1,"t":1,"color":"url(javascript:alert(1))","width":5,"points":[1,1,9,9]}]}',
  '{"pieces":[{"by":"evil","n":1,"t":1e300,"color":"#000000","width":5,"points":[1,1,9,9]}]}',
  '{"pieces":[{"by":"evil","n":1,"t":1,"color":"#000000","width":1e9,"points":[1,1,9,9]}]}',
  '{"pieces":[{"by":"evil","n":1,"t":1,"color":"#000000","width":5,"points":[1,1,9,null]}]}',
  '{"pieces":{"length":1e9}}',
  '{"clear":{"__proto__":1e15,"evil":-1,"other":"x"}}',
  '{"clear":"everything"}',
  '{"__proto__":{"x0":1},"x0":"<b>"}',
];

async function together(browser, proxy) {
  const ann = await artist(browser, proxy.url, board, MARKUP);
  const ben = await artist(browser, second, board, "Ben");
  const people = [ann, ben];

  await step("what one draws the other has, and both canvases are the same", async () => {
    await ann.draw(house, { color: "#c8402f", width: "10" });
    await ben.draw(wave, { color: "#2f74c0", width: "4" });
    await showSame([ann.page, ben.page], "one after the other");
    await reads(ann.page, "#users", "2");
  });

  await step("also when they draw over one another at the same time", async () => {
    const zigzag = (top) => Array.from({ length: 14 }, (_, index) => [0.5 + (index % 2) * 0.3, top + index * 0.02]);
    await Promise.all([
      ann.draw(zigzag(0.42), { color: "#f0cb3a", width: "26" }),
      ben.draw(zigzag(0.44), { color: "#3d9a57", width: "26" }),
    ]);
    await showSame([ann.page, ben.page], "at the same time");
    await ann.draw([[0.5, 0.5], [0.8, 0.6]], { color: "eraser", width: "26" });
    await showSame([ann.page, ben.page], "after the eraser");
  });

  await step("a pointer of the other is seen, and a name of markup is text", async () => {
    const box = await ann.page.locator("#sheet").boundingBox();
    await ann.page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.2, { steps: 5 });
    await reads(ben.page, ".pointer span", MARKUP);
    assert.equal(await ben.page.locator(".pointer img").count(), 0);
    await ben.page.waitForFunction(() => {
      const [pointer, sheet] = [".pointer", "#sheet"].map((at) => document.querySelector(at).getBoundingClientRect());
      const at = [(pointer.left - sheet.left) / sheet.width, (pointer.top - sheet.top) / sheet.height];
      return Math.abs(at[0] - 0.3) < 0.01 && Math.abs(at[1] - 0.2) < 0.01;
    });
    await shoot(ben.page, "draw-light");
    await ann.page.mouse.move(5, 5);
    await ben.page.waitForFunction(() => document.querySelector(".pointer") === null);
  });

  await step("however fast a hand moves, messages are few, and none are sent while it rests", async () => {
    const sent = { raw: [], ws: [] };
    ann.page.on("websocket", (socket) => {
      const kind = socket.url().includes("/raw/") ? "raw" : "ws";
      socket.on("framesent", ({ payload }) => sent[kind].push({ at: performance.now(), payload }));
    });
    await ann.page.reload();
    await reads(ann.page, "#users", "2");
    const spiral = Array.from({ length: 60 }, (_, index) => [0.8 + index * 0.0025 * Math.cos(index), 0.25 + index * 0.003 * Math.sin(index)]);
    await ann.draw(spiral, { color: "#7a5ea8", width: "4" });
    await showSame([ann.page, ben.page], "the spiral");
    const most = (times) => Math.max(0, ...times.map((from) => times.filter((at) => from <= at && at < from + 1000).length));
    const pieces = sent.raw.map(({ at }) => at);
    const pointers = sent.ws.filter(({ payload }) => payload.includes('"pointer"')).map(({ at }) => at);
    assert.ok(pieces.length > 0 && most(pieces) <= 25, `${most(pieces)} messages with pieces in a second`);
    assert.ok(pointers.length > 0 && most(pointers) <= 22, `${most(pointers)} pointers in a second`);
    const count = sent.raw.length;
    await ann.page.waitForTimeout(500);
    const late = sent.ws.filter(({ payload }) => payload.includes('"pointer"')).length;
    await ann.page.waitForTimeout(500);
    assert.equal(sent.raw.length, count);
    assert.equal(sent.ws.filter(({ payload }) => payload.includes('"pointer"')).length, late);
  });

  await step("what has another shape breaks nothing", async () => {
    const before = await ann.pieces();
    await ben.page.evaluate(
      async ([name, shapes]) => {
        const socket = new WebSocket(`ws://${location.host}/raw/${name}?echo=1`);
        await new Promise((opened) => (socket.onopen = opened));
        let left = shapes.length + 1;
        const all = new Promise((done) => (socket.onmessage = () => (left -= 1) === 0 && done()));
        for (const shape of shapes) socket.send(shape);
        socket.send(new Uint8Array([1, 2, 3]));
        await all;
        socket.close();
      },
      [board, SHAPES],
    );
    await ann.draw([[0.1, 0.1], [0.2, 0.1]], { color: "#23282c", width: "4" });
    await showSame([ann.page, ben.page], "after strange messages");
    assert.ok((await ann.pieces()) > before);
    assert.equal(await ann.page.evaluate(() => ({}).x0), undefined);
  });

  await step("who comes later has the whole drawing, though the history has forgotten most of it", async () => {
    await drawMany(ben.page, board, MANY);
    await showSame([ann.page, ben.page], "many lines");
    const all = await ann.pieces();
    assert.ok(all > MANY, `${all} pieces`);
    const cleo = await artist(browser, second, board, "Cleo", { colorScheme: "dark" });
    await cleo.has(all);
    await showSame([ann.page, cleo.page], "the newcomer's");
    people.push(cleo);
    const eve = await artist(browser, first, board, "Eve", {
      viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2,
    });
    await eve.has(all);
    await cleo.page.mouse.move(500, 300, { steps: 3 });
    await eve.page.locator(".pointer").waitFor();
    await shoot(eve.page, "draw-phone");
    await shoot(cleo.page, "draw-dark");
    people.push(eve);
  });

  await step("a finger draws", async () => {
    const { page } = people[3];
    const box = await page.locator("#sheet").boundingBox();
    const before = await ann.pieces();
    const session = await page.context().newCDPSession(page);
    const touch = (type, points) => session.send("Input.dispatchTouchEvent", { type, touchPoints: points });
    await touch("touchStart", [{ x: box.x + 30, y: box.y + 30 }]);
    await touch("touchMove", [{ x: box.x + 120, y: box.y + 60 }]);
    await touch("touchEnd", []);
    await ann.page.waitForFunction((count) => Number(document.querySelector("#paper").dataset.pieces) > count, before);
    await showSame([ann.page, ben.page, people[2].page], "after the finger");
  });

  await step("after the connection broke nothing is missing on either side, however much was drawn meanwhile", async () => {
    proxy.cut();
    await reads(ann.page, "#status", /^(reconnecting|connecting)/);
    await ann.draw([[0.6, 0.05], [0.9, 0.1]], { color: "#7a5ea8", width: "10" });
    await reads(ann.page, "#note", /sent when the connection is back/);
    await shoot(ann.page, "draw-away");
    await drawMany(ben.page, board, MANY);
    proxy.mend();
    await reads(ann.page, "#status", /^connected to /);
    await showSame([ann.page, ben.page, people[2].page], "after the tunnel");
    assert.ok((await ann.pieces()) > 2 * MANY);
    await ann.page.locator("#note").waitFor({ state: "hidden" });
  });

  await step("clearing is for everybody, also for who comes after it, and what is drawn then stays", async () => {
    await ben.clear();
    await Promise.all(people.map((one) => one.has(0)));
    await ann.draw(wave, { color: "#c8402f", width: "64" });
    const pages = [ann, ben, people[2]].map(({ page }) => page);
    await showSame(pages, "after clearing");
    const fay = await artist(browser, first, board, "Fay");
    await fay.has(await ann.pieces());
    await showSame([...pages, fay.page], "after clearing, for a newcomer");
    people.push(fay);
  });
  for (const { name, faults } of people) assert.deepEqual(faults, [], `faults of ${name}'s page`);
  for (const { page } of people) await page.context().close();
}

/** A page that knows nothing of the gateway but an address. */
async function tutorial(browser, origin, name) {
  // It stands for a server of the tutorial's own, from which Chromium takes no connections to this machine otherwise.
  const context = await browser.newContext({ permissions: ["local-network-access"] });
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  const body = readFileSync(new URL("tutorial.html", import.meta.url), "utf8");
  await page.route("**/tutorial.html", (route) => route.fulfill({ contentType: "text/html", body }));
  await page.goto(`${origin}/tutorial.html#${name}`);
  await page.waitForFunction(() => ws.readyState === WebSocket.OPEN);
  return { page, faults };
}

async function ofOthers(browser) {
  const name = `${board}-tutorial`;
  await step("the drawing page of a tutorial works on two nodes as it is, and the board shows what it draws", async () => {
    const dan = await artist(browser, second, name, "Dan");
    const pair = [await tutorial(browser, first, name), await tutorial(browser, second, name)];
    for (const [index, { page }] of pair.entries()) {
      await page.mouse.move(100, 100 + 200 * index);
      await page.mouse.down();
      await page.mouse.move(600, 300 + 100 * index, { steps: 10 });
      await page.mouse.up();
      await showSame(pair.map((one) => one.page), `line ${index + 1}`, "#canvas");
    }
    await dan.has(20);
    // Nor do our messages disturb it.
    const { hash } = await pixels(pair[0].page, "#canvas");
    await dan.draw(house, { color: "#c8402f", width: "10" });
    const gus = await artist(browser, first, name, "Gus");
    await gus.has(await dan.pieces());
    await showSame([dan.page, gus.page], "the board");
    assert.equal((await pixels(pair[0].page, "#canvas")).hash, hash);
    for (const { page, faults } of [...pair, dan, gus]) {
      assert.deepEqual(faults, []);
      await page.context().close();
    }
  });
}

const browser = await launch();
const proxy = await startProxy(first);
try {
  await together(browser, proxy);
  await ofOthers(browser);
} catch (error) {
  console.error("what the pages told:", new Set(allFaults.flatMap((one) => one.faults ?? one)));
  throw error;
} finally {
  await browser.close();
  await proxy.stop();
}
