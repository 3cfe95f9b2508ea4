/** What is drawn on this page: numbered, sent in batches, and kept until the relay has sent it back. */

import { told, withBox } from "./piece.js";

/** A message every so often: a fifth of what a connection may send by default, and 5 s of drawing in a history of 100. */
export const BATCH_MS = 50;

/** The longest message, in characters; the default bound is 64 KiB. */
const BATCH_CHARS = 16_000;

/** Pieces that may wait for the connection. Beyond that drawing has to pause. */
const WAITING_MAX = 5000;

/** The relay sends everything back at once. Whatever takes this long will not come on this connection. */
const ECHO_MS = 10_000;

/** One's own part of a drawing. */
export class Mine {
  #drawing;
  #relay;
  #by = newAuthor();
  #n = 0;
  /** What has not come back, in its order. */
  #waiting = new Map();
  #clear = null;
  #heardAt = 0;

  constructor({ drawing, relay }) {
    this.#drawing = drawing;
    this.#relay = relay;
    relay.addEventListener("state", ({ detail }) => detail.state === "connected" && this.#again());
    setInterval(() => this.#turn(), BATCH_MS);
  }

  /** How much has not come back yet. */
  get waiting() {
    return this.#waiting.size + (this.#clear === null ? 0 : 1);
  }

  /** Whether more may be drawn. */
  get hasRoom() {
    return this.#waiting.size < WAITING_MAX && !this.#drawing.isFull;
  }

  /**
   * Makes a piece.
   *
   * @returns {import("./piece.js").Piece | null} null if there is no room for it.
   */
  draw({ color, width, points }) {
    if (!this.hasRoom) return null;
    // Somebody may have cleared numbers that were not given yet.
    this.#n = Math.max(this.#n, this.#drawing.clearedOf(this.#by)) + 1;
    const piece = withBox({ by: this.#by, n: this.#n, t: this.#drawing.nextTime(), color, width, points });
    if (!this.#drawing.add(piece)) return null;
    this.#waiting.set(nameOf(piece), { piece, isSent: false });
    return piece;
  }

  /** Clears away everything that is to be seen here. */
  clear() {
    this.#clear = { vector: this.#drawing.everything(), isSent: false };
    this.#drawing.clear(this.#clear.vector);
    this.#drawing.clearForeign();
    this.#waiting.clear();
  }

  /** A piece has come from the relay. */
  heard(piece) {
    if (this.#waiting.delete(nameOf(piece))) this.#heardAt = performance.now();
    // Somebody else uses this page's name: it takes another.
    if (piece.by === this.#by && piece.n > this.#n) [this.#by, this.#n] = [newAuthor(), 0];
  }

  /** The relay has told that something was cleared. */
  heardClear(vector) {
    if (this.#clear !== null && Object.entries(this.#clear.vector).every(([by, n]) => vector?.[by] >= n)) {
      this.#clear = null;
      this.#heardAt = performance.now();
    }
    for (const [name, { piece }] of this.#waiting) {
      if (piece.n <= this.#drawing.clearedOf(piece.by)) this.#waiting.delete(name);
    }
  }

  /** Sends what can be sent now: one message. */
  flush() {
    if (!this.#relay.isReady) return;
    if (!this.#isUnderWay) this.#heardAt = performance.now();
    if (this.#clear !== null && !this.#clear.isSent) {
      this.#clear.isSent = true;
      return this.#relay.send(JSON.stringify({ clear: this.#clear.vector }));
    }
    const pieces = [];
    let chars = 0;
    for (const one of this.#waiting.values()) {
      if (one.isSent) continue;
      chars += JSON.stringify(told(one.piece)).length;
      if (pieces.length > 0 && chars > BATCH_CHARS) break;
      one.isSent = true;
      pieces.push(told(one.piece));
    }
    if (pieces.length > 0) this.#relay.send(JSON.stringify({ pieces }));
  }

  get #isUnderWay() {
    return this.#clear?.isSent === true || this.#waiting.values().next().value?.isSent === true;
  }

  #turn() {
    const isLate = this.#isUnderWay && performance.now() - this.#heardAt > ECHO_MS;
    if (isLate && this.#relay.state === "connected") this.#relay.renew("what was sent does not come back");
    this.flush();
  }

  /** On a new connection what has not come back is sent again. What comes twice is one piece. */
  #again() {
    for (const one of this.#waiting.values()) one.isSent = false;
    if (this.#clear !== null) this.#clear.isSent = false;
  }
}

function nameOf({ by, n }) {
  return `${by} ${n}`;
}

function newAuthor() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => (byte % 36).toString(36)).join("");
}
