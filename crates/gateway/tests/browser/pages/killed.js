/**
 * Kills a node between two messages: `node pages/killed.js http://nginx name=url=pid [name=url=pid …]` with the nodes behind
 * that nginx. Ann comes through nginx, Ben directly to a node that is not hers; hers is killed, and she misses nothing, in the
 * chat and at the drawing board.
 */

import assert from "node:assert/strict";
import { artist, drawMany, showSame } from "./artist.js";
import { launch, person, reads } from "./browser.js";

const [entry, ...given] = process.argv.slice(2);
const nodes = given.map((text) => text.split("="));
if (entry === undefined || nodes.length < 2) {
  console.error("usage: node pages/killed.js <nginx URL> <node>=<URL>=<pid> <node>=<URL>=<pid> …");
  process.exit(64);
}

const channel = `chat:killed-${Date.now().toString(36).slice(-4)}`;
const board = channel.replace("chat:", "board-");

/** More than the history of a channel keeps. */
const MANY = 330;

const browser = await launch();
try {
  const ann = await person(browser, entry, channel, "Ann");
  const status = await ann.page.locator("#status").textContent();
  const hers = nodes.find(([name]) => status.trim() === `connected to ${name}`);
  assert.ok(hers !== undefined, `Ann is "${status.trim()}"`);
  const [other, url] = nodes.find(([name]) => name !== hers[0]);
  const ben = await person(browser, url, channel, "Ben");
  const said = ["Before the lights went out"];
  await ann.say(said[0]);
  await ben.hears(said);

  // From the same address, so nginx gives her the same node.
  const drawing = await artist(browser, entry, board, "Ann");
  const watching = await artist(browser, url, board, "Ben");
  await drawing.draw([[0.1, 0.1], [0.4, 0.3]]);
  await watching.draw([[0.1, 0.3], [0.4, 0.1]]);
  await showSame([drawing.page, watching.page], "before");

  process.kill(Number(hers[2]), "SIGKILL");
  said.push("Said while she was away", "And one more");
  await reads(drawing.page, "#status", /^(reconnecting|connecting)/);
  await drawing.draw([[0.5, 0.2], [0.9, 0.2]]);
  for (const text of said.slice(1)) await ben.say(text);
  await drawMany(watching.page, board, MANY);
  await reads(ann.page, "#status", /^connected to /);
  assert.notEqual((await ann.page.locator("#status").textContent()).trim(), `connected to ${hers[0]}`);
  await ann.hears(said);
  said.push("And she answers");
  await ann.say(said.at(-1));
  await ben.hears(said);
  assert.equal(await ann.page.locator("#entries .note.gap").count(), 0, "nothing was lost");
  await reads(drawing.page, "#status", /^connected to /);
  await showSame([drawing.page, watching.page], "after the node was killed");
  assert.ok((await drawing.pieces()) > MANY);
  console.log(`ok  ${hers[0]} was killed between messages; on another node nothing is missing (Ben is on ${other})`);
} finally {
  await browser.close();
}
