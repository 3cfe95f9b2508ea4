/**
 * A drawing on which all its pages agree, whatever reaches them in whatever order and however often: a set of numbered
 * pieces, and for each author how many of them have been cleared away. Joining two drawings loses nothing of either.
 */

import { foreignLine, isAuthor, isCount } from "./piece.js";

/** What a drawing may hold, so that strangers cannot fill a page's memory. */
const LIMITS = { authors: 1000, pieces: 50_000, numbers: 2_000_000, foreign: 20_000 };

/** Ranges that an author's numbers are told in; more are the work of somebody who leaves holes. */
const RANGES_MAX = 64;

/** A drawing: no canvas, no clock and no wire. */
export class Drawing {
  #authors = new Map();
  #cleared = new Map();
  #foreign = new Map();
  #sorted = [];
  #numbers = 0;
  #time = 0;
  #limits;

  constructor(limits = LIMITS) {
    this.#limits = limits;
  }

  /** All pieces, the lowest first. */
  get pieces() {
    return this.#sorted;
  }

  /** Whether something had to be left out because there is too much already. */
  isFull = false;

  /** The next moment: after everything that is in the drawing. */
  nextTime() {
    return Math.min(this.#time + 1, 2 ** 52);
  }

  /**
   * Adds a piece.
   *
   * @param {import("./piece.js").Piece} piece
   * @returns {boolean} whether it is new and has not been cleared away.
   */
  add(piece) {
    const { by, n } = piece;
    if (n <= (this.#cleared.get(by) ?? 0) || this.has(by, n)) return false;
    if (!this.#hasRoom(by, piece)) return false;
    if (!this.#authors.has(by)) this.#authors.set(by, new Map());
    this.#authors.get(by).set(n, piece);
    this.#insert(piece);
    return true;
  }

  has(by, n) {
    return this.#authors.get(by)?.has(n) ?? false;
  }

  /** How far an author's pieces have been cleared away. */
  clearedOf(by) {
    return this.#cleared.get(by) ?? 0;
  }

  /**
   * Adds a line of a page that numbers nothing. It lies where the relay's order has put it: after what was relayed before
   * on the same connection, whose latest time is `t`.
   *
   * @returns {import("./piece.js").Piece | null} the line, if it is new.
   */
  addForeign(data, t) {
    const line = foreignLine(data, t);
    if (line === null) return null;
    const key = [line.color, line.width, ...line.points].join(" ");
    if (this.#foreign.has(key)) return null;
    if (this.#foreign.size >= this.#limits.foreign) {
      this.isFull = true;
      return null;
    }
    this.#foreign.set(key, line);
    this.#insert(line);
    return line;
  }

  /** Clears away the lines of pages that number nothing. */
  clearForeign() {
    if (this.#foreign.size === 0) return false;
    this.#foreign.clear();
    this.#sorted = this.#sorted.filter((piece) => piece.by !== "");
    return true;
  }

  /** What clearing now would take away: for each author the highest number that is here. */
  everything() {
    const vector = Object.fromEntries(this.#cleared);
    for (const [by, pieces] of this.#authors) {
      for (const n of pieces.keys()) vector[by] = Math.max(vector[by] ?? 0, n);
    }
    return vector;
  }

  /**
   * Clears away the pieces up to each author's number, for good. What its author did not know of stays.
   *
   * @param {unknown} vector as a stranger sends it.
   * @returns {boolean} whether that changes anything.
   */
  clear(vector) {
    let isNews = false;
    for (const [by, n] of entriesOf(vector)) {
      if (n <= this.clearedOf(by) || (!this.#cleared.has(by) && this.#cleared.size >= this.#limits.authors)) continue;
      this.#cleared.set(by, n);
      isNews = true;
      const pieces = this.#authors.get(by);
      for (const [number, piece] of pieces ?? []) {
        if (number > n) continue;
        pieces.delete(number);
        this.#numbers -= piece.points.length;
      }
    }
    if (isNews) this.#sorted = this.#sorted.filter(({ by, n }) => by === "" || n > this.clearedOf(by));
    if (isNews) this.isFull = false;
    return isNews;
  }

  /** What is here, for others to compare: `{have: {author: [first, last, …]}, cleared: {author: number}}`. */
  summary() {
    const have = {};
    for (const [by, pieces] of this.#authors) {
      const ranges = rangesOf([...pieces.keys()].sort((a, b) => a - b));
      if (ranges.length > 0) have[by] = ranges.slice(0, 2 * RANGES_MAX);
    }
    return { have, cleared: Object.fromEntries(this.#cleared) };
  }

  /** What is here and not there: `{pieces, cleared}`. */
  missingIn(summary) {
    const there = summaryOf(summary);
    const pieces = this.#sorted.filter(({ by, n }) => {
      if (by === "" || n <= (there.cleared.get(by) ?? 0)) return false;
      return !(there.have.get(by) ?? []).some(([first, last]) => first <= n && n <= last);
    });
    const cleared = {};
    for (const [by, n] of this.#cleared) if (n > (there.cleared.get(by) ?? 0)) cleared[by] = n;
    return { pieces, cleared };
  }

  /** Whether there is something that is not here. */
  lacks(summary) {
    const there = summaryOf(summary);
    for (const [by, n] of there.cleared) if (n > this.clearedOf(by)) return true;
    for (const [by, ranges] of there.have) {
      const numbers = [...(this.#authors.get(by)?.keys() ?? [])];
      for (const [first, last] of ranges) {
        const from = Math.max(first, this.clearedOf(by) + 1);
        const here = numbers.filter((n) => from <= n && n <= last).length;
        if (here < last - from + 1) return true;
      }
    }
    return false;
  }

  #hasRoom(by, piece) {
    const numbers = this.#numbers + piece.points.length;
    const mayCome = this.#authors.has(by) || this.#authors.size < this.#limits.authors;
    const hasRoom = mayCome && this.#sorted.length < this.#limits.pieces && numbers <= this.#limits.numbers;
    if (hasRoom) this.#numbers = numbers;
    else this.isFull = true;
    return hasRoom;
  }

  #insert(piece) {
    this.#time = Math.max(this.#time, piece.t);
    let [at, end] = [0, this.#sorted.length];
    // Most come last.
    if (end > 0 && !isAbove(this.#sorted[end - 1], piece)) at = end;
    while (at < end) {
      const middle = (at + end) >> 1;
      if (isAbove(this.#sorted[middle], piece)) end = middle;
      else at = middle + 1;
    }
    this.#sorted.splice(at, 0, piece);
  }
}

function isAbove(one, other) {
  if (one.t !== other.t) return one.t > other.t;
  if (one.by !== other.by) return one.by > other.by;
  return one.n > other.n;
}

function rangesOf(numbers) {
  const ranges = [];
  for (const n of numbers) {
    if (ranges.length > 0 && ranges.at(-1) === n - 1) ranges[ranges.length - 1] = n;
    else ranges.push(n, n);
  }
  return ranges;
}

/** The numbers of a vector that a stranger has sent. */
function entriesOf(vector) {
  if (vector === null || typeof vector !== "object") return [];
  return Object.entries(vector).filter(([by, n]) => isAuthor(by) && isCount(n));
}

/** A summary that a stranger has sent, as maps. */
function summaryOf(data) {
  const have = new Map();
  const told = data?.have;
  for (const [by, ranges] of told !== null && typeof told === "object" ? Object.entries(told) : []) {
    if (!isAuthor(by) || !Array.isArray(ranges)) continue;
    const pairs = [];
    for (let index = 0; index + 1 < Math.min(ranges.length, 2 * RANGES_MAX); index += 2) {
      const [first, last] = [ranges[index], ranges[index + 1]];
      if (isCount(first) && isCount(last) && first <= last) pairs.push([first, last]);
    }
    have.set(by, pairs);
  }
  return { have, cleared: new Map(entriesOf(data?.cleared)) };
}
