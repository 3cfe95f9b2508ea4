/** Publications that wait for the gateway's answer: bounded, in order, and repeated only where that is harmless. */

import { Backoff } from "./advice.js";
import { GatewayError } from "./wire.js";

/** Unanswered publications on one connection; the others wait here rather than in the socket. */
const WINDOW = 64;

/** Gateways know a key for five minutes: after four no repeat is made. */
const KEY_HOLDS_MS = 240_000;

/**
 * One publication on its way.
 *
 * @typedef {object} Entry
 * @property {number} id also its place in the order.
 * @property {string} text the command, encoded.
 * @property {number} bytes of `text`.
 * @property {boolean} hasKey a repeat is harmless.
 * @property {boolean} volatile never waits and is never repeated.
 * @property {number} timeoutMs
 * @property {(position: object) => void} [onPublished] called in the moment of the answer.
 */

/** The queue. */
export class Outbox {
  #clock;
  #random;
  #connection;
  #limits;
  #waiting = [];
  #sent = new Set();
  #volatile = new Set();
  #bytes = 0;
  #pause = null;

  /**
   * @param {object} parts
   * @param {import("../client.d.ts").Clock} parts.clock
   * @param {() => number} parts.random
   * @param {{messages: number, bytes: number}} parts.limits what may be unanswered.
   * @param {() => import("./connection.js").Connection | null} parts.connection the one in use.
   */
  constructor({ clock, random, limits, connection }) {
    this.#clock = clock;
    this.#random = random;
    this.#limits = limits;
    this.#connection = connection;
  }

  /** How much is unanswered: `{messages, bytes}`. */
  get size() {
    return { messages: this.#waiting.length + this.#sent.size + this.#volatile.size, bytes: this.#bytes };
  }

  /**
   * Takes a publication.
   *
   * @param {Entry} entry
   * @returns {Promise<{epoch?: string, offset?: number}>}
   */
  add(entry) {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal(entry);
      if (refusal !== null) return reject(refusal);
      entry.resolve = resolve;
      entry.reject = reject;
      entry.backoff = new Backoff({ random: this.#random });
      entry.timer = this.#clock.setTimeout(() => this.#expire(entry), entry.timeoutMs);
      this.#bytes += entry.bytes;
      if (entry.volatile) return this.#sendOnce(entry);
      this.#waiting.push(entry);
      this.flush();
    });
  }

  /** Sends what may be sent now. */
  flush() {
    while (this.#waiting.length > 0 && this.#sent.size < WINDOW && this.#pause === null && this.#isOpen()) {
      const entry = this.#waiting.shift();
      if (entry.bytes > this.#maxBytes()) {
        this.#reject(entry, tooLarge(entry, this.#maxBytes()));
      } else if (this.#clock.now() - entry.firstSentAt > KEY_HOLDS_MS) {
        this.#reject(entry, unknownOutcome("its key may have been forgotten by now"));
      } else {
        this.#send(entry);
      }
    }
  }

  /** A new connection: what the old one was asked to wait for is over. */
  resume() {
    this.#clock.clearTimeout(this.#pause);
    this.#pause = null;
    this.flush();
  }

  /** Gives all of it up. */
  fail(code, message) {
    for (const entry of this.#waiting.splice(0)) {
      this.#reject(entry, entry.isUncertain ? unknownOutcome(message) : new GatewayError(code, message));
    }
  }

  #isOpen() {
    return this.#connection()?.isOpen === true;
  }

  #maxBytes() {
    return this.#connection().welcome.max_message_bytes ?? Infinity;
  }

  #refusal(entry) {
    if (entry.volatile && !this.#isOpen()) {
      return new GatewayError("offline", "volatile publications do not wait for a connection", { temporary: true });
    }
    if (this.#isOpen() && entry.bytes > this.#maxBytes()) {
      return tooLarge(entry, this.#maxBytes());
    }
    const { messages, bytes } = this.size;
    if (messages >= this.#limits.messages || bytes + entry.bytes > this.#limits.bytes) {
      const text = `${messages} publications of ${bytes} bytes wait for the gateway already`;
      return new GatewayError("queue_full", text, { temporary: true });
    }
    return null;
  }

  #send(entry) {
    entry.firstSentAt ??= this.#clock.now();
    this.#sent.add(entry);
    this.#connection().ask(entry.id, entry.text, (reply) => {
      // Its time may have run out meanwhile.
      if (!this.#sent.delete(entry)) return;
      this.#answered(entry, reply);
      this.flush();
    });
  }

  #sendOnce(entry) {
    this.#volatile.add(entry);
    this.#connection().ask(entry.id, entry.text, (reply) => {
      if (!this.#volatile.delete(entry)) return;
      if (reply === null) this.#reject(entry, new GatewayError("connection_lost", "the connection broke"));
      else if (reply.type === "error") this.#reject(entry, GatewayError.of(reply));
      else this.#resolve(entry, reply);
    });
  }

  #answered(entry, reply) {
    if (reply !== null && reply.type !== "error") return this.#resolve(entry, reply);
    const isUnknown = reply === null || reply.code === "unknown_outcome";
    entry.isUncertain ||= isUnknown;
    const mayRepeat = isUnknown ? entry.hasKey : reply.temporary === true;
    if (mayRepeat) {
      this.#putBack(entry);
      if (reply !== null) this.#pauseFor(reply.retry_after_ms ?? entry.backoff.next());
    } else if (reply === null) {
      this.#reject(entry, unknownOutcome("the connection broke before the answer; with a `key` it would be repeated"));
    } else if (entry.isUncertain && !isUnknown) {
      this.#reject(entry, unknownOutcome(`its repeat was refused: ${reply.message}`));
    } else {
      this.#reject(entry, GatewayError.of(reply));
    }
  }

  /** Back to its place in the order. */
  #putBack(entry) {
    const place = this.#waiting.findIndex((other) => other.id > entry.id);
    this.#waiting.splice(place === -1 ? this.#waiting.length : place, 0, entry);
  }

  #pauseFor(ms) {
    if (this.#pause !== null) return;
    this.#pause = this.#clock.setTimeout(() => {
      this.#pause = null;
      this.flush();
    }, ms);
  }

  #expire(entry) {
    const wasSent = this.#sent.delete(entry) || this.#volatile.delete(entry);
    const place = this.#waiting.indexOf(entry);
    if (place !== -1) this.#waiting.splice(place, 1);
    const text = `not answered in ${entry.timeoutMs} ms`;
    const isUnknown = wasSent || entry.isUncertain;
    this.#reject(entry, isUnknown ? unknownOutcome(text) : new GatewayError("timeout", text, { temporary: true }));
    this.flush();
  }

  #resolve(entry, { epoch, offset }) {
    this.#forget(entry);
    const position = epoch === undefined ? {} : { epoch, offset };
    entry.onPublished?.(position);
    entry.resolve(position);
  }

  #reject(entry, error) {
    this.#forget(entry);
    entry.reject(error);
  }

  #forget(entry) {
    this.#clock.clearTimeout(entry.timer);
    this.#bytes -= entry.bytes;
  }
}

function tooLarge(entry, maxBytes) {
  return new GatewayError("too_large", `a message has at most ${maxBytes} bytes, and this one ${entry.bytes}`);
}

function unknownOutcome(why) {
  return new GatewayError("unknown_outcome", `it may or may not have been delivered: ${why}`, { temporary: true });
}
