/** What to do after a connection has ended, and how long to wait before the next. */

/** The longest a timer of a browser can wait; longer ones fire at once. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Codes below 4000 after which the same would happen again. */
const FINAL_CODES = new Set([1000, 1002, 1003, 1007, 1009]);

/**
 * What a close code asks for.
 *
 * @param {number} code as in the close frame; 1006 where there was none.
 * @returns {"never" | "backoff" | "told"} stay away, come back with backoff, or come back when told.
 */
export function adviceFor(code) {
  if (FINAL_CODES.has(code) || (code >= 4000 && code < 4100)) return "never";
  return code >= 4200 && code < 4300 ? "told" : "backoff";
}

/**
 * Full-jitter backoff: before attempt n a random time below `min(ceilingMs, firstMs * 2^n)`. Without the randomness all
 * clients of a lost node would come back at one moment, and again at the next.
 */
export class Backoff {
  #attempt = 0;
  #random;
  #firstMs;
  #ceilingMs;
  #stableMs;

  /**
   * @param {object} options
   * @param {() => number} options.random a number from 0 up to, not including, 1.
   * @param {number} [options.firstMs] bound of the first wait.
   * @param {number} [options.ceilingMs] bound of all waits.
   * @param {number} [options.stableMs] a connection that lasted this long begins the count anew.
   */
  constructor({ random, firstMs = 500, ceilingMs = 20_000, stableMs = 10_000 }) {
    this.#random = random;
    this.#firstMs = firstMs;
    this.#ceilingMs = ceilingMs;
    this.#stableMs = stableMs;
  }

  /** Takes note of how long a connection has lasted (ms). */
  lasted(ms) {
    if (ms >= this.#stableMs) this.#attempt = 0;
  }

  /** The wait before the next attempt, in ms. */
  next() {
    const bound = Math.min(this.#ceilingMs, this.#firstMs * 2 ** this.#attempt);
    this.#attempt += 1;
    return Math.floor(this.#random() * bound);
  }

  /**
   * The wait before the next attempt where the gateway has named one, in ms. It is already spread over its clients; but
   * somebody who is sent on again and again also backs off, so that nothing turns in a circle at full speed.
   *
   * @param {number} afterMs
   */
  told(afterMs) {
    const isFirst = this.#attempt === 0;
    const more = this.next();
    return Math.min(TIMER_MAX_MS, Math.max(0, afterMs) + (isFirst ? 0 : more));
  }
}
