/** A person at the drawing board, and what can be said of a canvas. */

import assert from "node:assert/strict";
import { open, reads } from "./browser.js";

/** Everything that is to be seen on a canvas, as one number, and how many pixels have anything on them. */
export function pixels(page, selector = "#paper") {
  return page.evaluate((at) => {
    const canvas = document.querySelector(at);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let [hash, inked] = [0, 0];
    for (let index = 0; index < data.length; index += 1) hash = (Math.imul(hash, 31) + data[index]) | 0;
    for (let index = 3; index < data.length; index += 4) if (data[index] > 0) inked += 1;
    return { hash, inked };
  }, selector);
}

/** Waits until the canvases of all pages show the same, and something. */
export async function showSame(pages, what, selector = "#paper") {
  const deadline = Date.now() + 15_000;
  let seen;
  do {
    seen = await Promise.all(pages.map((page) => pixels(page, selector)));
    if (seen[0].inked > 0 && seen.every(({ hash }) => hash === seen[0].hash)) return seen[0];
    await Promise.race(pages.map((page) => page.evaluate(() => new Promise(requestAnimationFrame))));
  } while (Date.now() < deadline);
  const counts = await Promise.all(pages.map((page) => page.evaluate(() => document.querySelector("#paper")?.dataset.pieces)));
  assert.fail(`${what}: the canvases differ: ${JSON.stringify(seen)}, pieces ${counts}`);
}

/** A person at a board. */
export async function artist(browser, origin, board, name, options) {
  const { page, faults } = await open(browser, `${origin}/draw#${encodeURIComponent(board)}`, options);
  await page.locator("#name").fill(name);
  await page.keyboard.press("Enter");
  await reads(page, "#status", /^connected to /);
  await page.waitForFunction(() => /^\d+$/.test(document.querySelector("#users").textContent));
  return {
    page,
    faults,
    name,
    /** Draws a line through these points, in parts of the board. */
    async draw(points, { color, width } = {}) {
      if (color !== undefined) await page.locator(`#tools [value="${color}"]`).check({ force: true });
      if (width !== undefined) await page.locator(`#tools [value="${width}"]`).check({ force: true });
      const box = await page.locator("#sheet").boundingBox();
      const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
      await page.mouse.move(...at(points[0]));
      await page.mouse.down();
      for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 8 });
      await page.mouse.up();
    },
    async clear() {
      await page.locator("#clear").click();
      await page.locator("#clear-sure").click();
    },
    /** Waits until so many pieces are on the board. */
    async has(pieces) {
      await page
        .waitForFunction((wanted) => Number(document.querySelector("#paper").dataset.pieces) === wanted, pieces)
        .catch(async () => {
          const is = await page.evaluate(() => document.querySelector("#paper").dataset.pieces);
          assert.fail(`${name} should have ${pieces} pieces, and has ${is}`);
        });
    },
    pieces: () => page.evaluate(() => Number(document.querySelector("#paper").dataset.pieces)),
  };
}

/** Draws from a page as another page of ours would, each line in a message of its own, over a connection of its own. */
export function drawMany(page, board, count) {
  return page.evaluate(
    async ([name, total]) => {
      const by = crypto.randomUUID().replaceAll("-", "").slice(0, 12);
      const socket = new WebSocket(`ws://${location.host}/raw/${encodeURIComponent(name)}?echo=1`, ["gateway.v1.raw"]);
      await new Promise((opened) => (socket.onopen = opened));
      // The next when the one before has come back: no faster than the gateway takes them.
      for (let n = 1; n <= total; n += 1) {
        const [x, y] = [40 + ((n * 37) % 1500), 620 + ((n * 53) % 540)];
        const color = ["#2f74c0", "#3d9a57", "#e08a1e", "#7a5ea8"][n % 4];
        const back = new Promise((come, fail) => ([socket.onmessage, socket.onclose] = [come, fail]));
        socket.send(JSON.stringify({ pieces: [{ by, n, t: 50 + n, color, width: 5, points: [x, y, x + 45, y - 30] }] }));
        await back;
        await new Promise((later) => setTimeout(later, 10));
      }
      socket.onclose = null;
      socket.close();
    },
    [board, count],
  );
}
