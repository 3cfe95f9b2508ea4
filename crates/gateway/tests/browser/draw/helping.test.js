/** Peers help a newcomer: one of them, not all, and another where the first does not. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Drawing } from "../../../web/draw/drawing.js";
import { Helping } from "../../../web/draw/helping.js";
import { pieceOf } from "../../../web/draw/piece.js";

const LATENCY_MS = 20;

const piece = (by, n) => pieceOf({ by, n, t: n, color: "#23282c", width: 4, points: [n, n, n + 1, n + 1] });

/** A channel beside a board, and connections that can send to one another, on a clock that moves when told. */
class Place {
  peers = new Map();
  said = [];
  sent = [];

  /** Somebody with these pieces comes. `dies` loses what it sends after so many messages. */
  join(client, pieces = [], { dies = Infinity } = {}) {
    const drawing = new Drawing();
    pieces.forEach((one) => drawing.add(one));
    const gateway = new EventTarget();
    let left = dies;
    gateway.send = async (to, data, { event }) => {
      if ((left -= 1) < 0) throw new Error("gone");
      this.sent.push({ client, to });
      const detail = JSON.parse(JSON.stringify({ from: { client }, event, data }));
      await new Promise((later) => setTimeout(later, LATENCY_MS));
      this.peers.get(to).gateway.dispatchEvent(new CustomEvent("message", { detail }));
    };
    const place = this;
    const company = {
      isHere: true,
      get users() {
        return place.peers.size;
      },
      say: (event, data) => this.#say(client, event, data),
    };
    const on = { piece: (one) => drawing.add(one), clear: (vector) => drawing.clear(vector), state() {} };
    const helping = new Helping({ drawing, company, gateway, on });
    this.peers.set(client, { drawing, gateway, helping });
    return { drawing, helping };
  }

  #say(client, event, data) {
    this.said.push({ client, event });
    const publication = JSON.parse(JSON.stringify({ event, from: { client }, data }));
    for (const [id, { helping }] of this.peers) if (id !== client) setTimeout(() => helping.heard(publication), LATENCY_MS);
  }

  count(event) {
    return this.said.filter((one) => one.event === event).length;
  }
}

/** Lets time pass in small steps, with all that promises do between them. */
async function pass(ms) {
  for (let passed = 0; passed < ms; passed += 10) {
    mock.timers.tick(10);
    for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
  }
}

const many = Array.from({ length: 900 }, (_, index) => piece("ann", index + 1));

function timed(name, run) {
  test(name, async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    // Chances that are spread evenly and are the same in each run: the fractions of multiples of the golden ratio.
    let turn = 0;
    mock.method(Math, "random", () => ((turn += 1) * 0.618034) % 1);
    try {
      await run();
    } finally {
      mock.timers.reset();
      mock.restoreAll();
    }
  });
}

timed("of forty peers few offer, and the newcomer gets all of it", async () => {
  const place = new Place();
  for (let number = 0; number < 40; number += 1) place.join(`peer${number}`, many);
  const { drawing, helping } = place.join("cleo", many.slice(850));
  helping.soon();
  await pass(20_000);
  assert.equal(drawing.pieces.length, 900);
  assert.ok(place.count("helping") <= 6, `${place.count("helping")} offered`);
  const asked = place.count("asking");
  await pass(60_000);
  assert.equal(place.count("asking"), asked, "nobody goes on asking");
});

timed("each message of an answer is of a size that passes", async () => {
  const place = new Place();
  place.join("ann", many);
  const { helping } = place.join("cleo");
  const sizes = [];
  place.peers.get("cleo").gateway.addEventListener("message", ({ detail }) => sizes.push(JSON.stringify(detail).length));
  helping.soon();
  await pass(5_000);
  assert.ok(sizes.length > 3 && Math.max(...sizes) < 32_000, `${sizes}`);
});

timed("where the helper is lost half way another one helps", async () => {
  const place = new Place();
  place.join("ben", many, { dies: 2 });
  place.join("dan", many.slice(0, 450), { dies: 1 });
  place.join("eve", many.slice(450));
  place.join("fay", many.slice(0, 450));
  const { drawing, helping } = place.join("cleo");
  helping.soon();
  await pass(60_000);
  assert.equal(drawing.pieces.length, 900);
});

timed("who hears that a newcomer has more asks, too", async () => {
  const place = new Place();
  const { drawing } = place.join("ben", many.slice(0, 10));
  const { helping } = place.join("cleo", many.slice(5, 20));
  helping.soon();
  await pass(20_000);
  assert.equal(drawing.pieces.length, 20);
});

timed("alone one asks a few times, and is quiet then", async () => {
  const place = new Place();
  place.join("cleo", many).helping.soon();
  await pass(60_000);
  assert.equal(place.count("asking"), 3);
});

timed("a stranger who claims to help and does not holds nobody back for long", async () => {
  const place = new Place();
  place.join("ann", many);
  const mallory = place.join("mallory").helping;
  mallory.heard = ({ event, data }) => {
    if (event === "asking") place.peers.get("ann").helping.heard({ event: "helping", from: { client: "mallory" }, data });
  };
  const { drawing, helping } = place.join("cleo");
  helping.soon();
  await pass(20_000);
  assert.equal(drawing.pieces.length, 900);
});

timed("pieces that were not asked for are not taken", async () => {
  const place = new Place();
  const { drawing } = place.join("cleo");
  const detail = { from: { client: "mallory" }, event: "pieces", data: { ask: "1-2-3", pieces: [piece("evil", 1)] } };
  place.peers.get("cleo").gateway.dispatchEvent(new CustomEvent("message", { detail }));
  await pass(1_000);
  assert.equal(drawing.pieces.length, 0);
});

timed("a page in the background, whose timers sleep, helps once nobody else has", async () => {
  const place = new Place();
  place.join("ann", many);
  globalThis.document = { hidden: true };
  try {
    const { drawing, helping } = place.join("cleo");
    helping.soon();
    // What the background page has a timer for does not happen.
    const heard = place.peers.get("ann").helping;
    const { heard: hears } = Helping.prototype;
    heard.heard = (publication) => publication.data.attempt === 0 || hears.call(heard, publication);
    await pass(20_000);
    assert.equal(drawing.pieces.length, 900);
  } finally {
    delete globalThis.document;
  }
});
