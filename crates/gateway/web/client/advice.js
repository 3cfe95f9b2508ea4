/** What to do after a connection has ended, and how long to wait before the next. */

import { STABLE_MS } from "./limits.js";

/** Codes below 4000 after which the same would happen again. */
const FINAL_CODES = [1000, 1002, 1003, 1007, 1009];

/**
 * What a close code asks for.
 *
 * @param {number} code as in the close frame; 1006 where there was none.
 * @returns {"never" | "backoff" | "told"} stay away, come back with backoff, or come back when told.
 */
export const adviceFor = (code) => {
  const group = Math.floor(code / 100);
  if (group === 40 || FINAL_CODES.includes(code)) return "never";
  return group === 42 ? "told" : "backoff";
};

/**
 * Full-jitter backoff: before attempt n a random time below `min(ceilingMs, firstMs * 2^n)`. Without the randomness all
 * clients of a lost node would come back at one moment, and again at the next.
 *
 * @param {() => number} random a number from 0 up to, not including, 1.
 * @param {number} [firstMs] bound of the first wait.
 * @param {number} [ceilingMs] bound of all waits.
 */
export const createBackoff = (random, firstMs = 500, ceilingMs = 20_000) => {
  let attempt = 0;

  /** The wait before the next attempt, in ms; `afterMs` at least. */
  const next = (afterMs = 0) => {
    const bound = Math.min(ceilingMs, firstMs * 2 ** attempt);
    attempt += 1;
    return afterMs + Math.floor(random() * bound);
  };

  /**
   * The wait where the gateway has named one, in ms. It is already spread over its clients; but somebody who is sent on
   * again and again also backs off, so that nothing turns in a circle at full speed.
   */
  const told = (afterMs) => {
    if (attempt > 0) return next(afterMs);
    attempt = 1;
    return afterMs;
  };

  /** Takes note of how long a connection has lasted (ms). */
  const lasted = (ms) => {
    if (ms >= STABLE_MS) attempt = 0;
  };

  return { next, told, lasted };
};
