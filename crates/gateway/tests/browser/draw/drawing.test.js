/** A drawing comes out the same, in whatever order and however often its parts arrive. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Drawing } from "../../../web/draw/drawing.js";
import { foreignLine, pieceOf } from "../../../web/draw/piece.js";

const piece = (by, n, t = n, points = [1, 2, 3, 4]) => pieceOf({ by, n, t, color: "#23282c", width: 4, points });
const names = (drawing) => drawing.pieces.map(({ by, n }) => `${by}${n}`);

/** Numbers that are the same in each run (mulberry32). */
function seeded(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

test("any order of pieces and clearings, with repeats, makes the same drawing", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const below = seeded(seed);
    const events = [];
    for (const by of ["a", "b", "c"]) for (let n = 1; n <= 8; n += 1) events.push({ piece: piece(by, n, below(12)) });
    for (let count = 0; count < 2; count += 1) events.push({ clear: { a: below(9), b: below(9) } });
    const drawings = [0, 1, 2].map(() => {
      const drawing = new Drawing();
      const order = [...events, ...events].sort(() => below(3) - 1);
      for (const event of order) event.piece ? drawing.add(event.piece) : drawing.clear(event.clear);
      return drawing;
    });
    for (const drawing of drawings) {
      assert.deepEqual(names(drawing), names(drawings[0]), `seed ${seed}`);
      assert.equal(drawing.lacks(drawings[0].summary()), false);
    }
  }
});

test("what one lacks the other has, and after that neither lacks anything", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const below = seeded(seed);
    const [one, other] = [new Drawing(), new Drawing()];
    for (const drawing of [one, other]) {
      for (const by of ["a", "b"]) for (let n = 1; n <= 9; n += 1) if (below(3) > 0) drawing.add(piece(by, n));
      if (below(2)) drawing.clear({ a: below(5) });
    }
    for (const [from, to] of [[one, other], [other, one]]) {
      const { pieces, cleared } = from.missingIn(to.summary());
      assert.equal(to.lacks(from.summary()), pieces.length > 0 || Object.keys(cleared).length > 0, `seed ${seed}`);
      pieces.forEach((missing) => to.add(missing));
      to.clear(cleared);
      assert.equal(to.lacks(from.summary()), false, `seed ${seed}`);
    }
    assert.deepEqual(names(one), names(other));
    assert.deepEqual(one.missingIn(other.summary()), { pieces: [], cleared: {} });
  }
});

test("clearing takes what its author has seen, and what came beside it stays", () => {
  const [here, there] = [new Drawing(), new Drawing()];
  for (const drawing of [here, there]) drawing.add(piece("a", 1));
  there.add(piece("b", 1));
  const cleared = here.everything();
  for (const drawing of [here, there]) drawing.clear(cleared);
  here.add(piece("b", 1));
  assert.deepEqual([names(here), names(there)], [["b1"], ["b1"]]);
  assert.equal(here.add(piece("a", 1)), false);
});

test("lines of pages that number nothing lie where they were relayed, once, until somebody clears", () => {
  const drawing = new Drawing();
  const segment = { x0: 0.1, y0: 0.2, x1: 0.3, y1: 0.4, color: "red" };
  assert.notEqual(drawing.addForeign(segment, 5), null);
  assert.equal(drawing.addForeign(segment, 9), null);
  drawing.add(piece("a", 1, 4));
  drawing.add(piece("a", 2, 6));
  assert.deepEqual(names(drawing), ["a1", "0", "a2"]);
  assert.deepEqual(drawing.pieces[1].points, [160, 240, 480, 480]);
  assert.equal(drawing.clearForeign(), true);
  assert.deepEqual(names(drawing), ["a1", "a2"]);
  assert.notEqual(drawing.addForeign(segment, 9), null);
});

test("a full drawing says so, and has room again once it is cleared", () => {
  const drawing = new Drawing({ authors: 2, pieces: 3, numbers: 100, foreign: 1 });
  for (let n = 1; n <= 3; n += 1) assert.equal(drawing.add(piece("a", n)), true);
  assert.equal(drawing.add(piece("a", 4)), false);
  assert.equal(drawing.isFull, true);
  drawing.clear(drawing.everything());
  assert.equal(drawing.isFull, false);
  assert.equal(drawing.add(piece("b", 1)), true);
  assert.equal(drawing.add(piece("c", 1)), false);
});

test("what cannot be a piece is none", () => {
  const good = { by: "a", n: 1, t: 1, color: "#000000", width: 4, points: [1, 2] };
  assert.notEqual(pieceOf(good), null);
  const bad = [
    null, 1, "piece", [], { ...good, by: "__proto__" }, { ...good, by: "" }, { ...good, by: ["a"] }, { ...good, n: 0 },
    { ...good, n: 1.5 }, { ...good, n: 2 ** 53 }, { ...good, t: -1 }, { ...good, t: "1" }, { ...good, color: "red" },
    { ...good, color: "#000000;" }, { ...good, width: 0 }, { ...good, width: NaN }, { ...good, width: 1e6 },
    { ...good, points: [] }, { ...good, points: [1] }, { ...good, points: [1, null] }, { ...good, points: [1, 1e9] },
    { ...good, points: { length: 2, 0: 1, 1: 1 } }, { ...good, points: Array(1002).fill(1) },
  ];
  for (const data of bad) assert.equal(pieceOf(data), null, JSON.stringify(data));
  for (const data of [null, {}, { x0: 1, y0: 1, x1: 1 }, { x0: "1", y0: 1, x1: 1, y1: 1 }]) assert.equal(foreignLine(data, 0), null);
  assert.equal(foreignLine({ x0: 1, y0: 9, x1: 1, y1: 1, color: "url(x:y)" }, 0).color, "#000000");
});

test("summaries of strangers are read with care", () => {
  const drawing = new Drawing();
  drawing.add(piece("a", 1));
  const odd = [null, 7, { have: 1 }, { have: { a: 1 } }, { have: { a: [2, 1] } }, { have: { "<b>": [1, 1] } }, { cleared: { a: -1 } }];
  for (const summary of odd) {
    assert.equal(drawing.lacks(summary), false, JSON.stringify(summary));
    assert.equal(drawing.missingIn(summary).pieces.length, 1, JSON.stringify(summary));
  }
  // A number that nobody can have reached makes no loop of that length.
  assert.equal(drawing.lacks({ have: { a: [1, 2 ** 52] } }), true);
});
