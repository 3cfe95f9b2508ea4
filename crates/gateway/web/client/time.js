/** Time as all parts of the client tell it, and what is not done in time. */

import { TIMER_MAX_MS } from "./limits.js";
import { GatewayError } from "./wire.js";

/**
 * `now()` in ms, and `after(ms, run)`, which gives the function that calls it off.
 *
 * @param {import("../client.d.ts").Clock} [clock] instead of the system's.
 */
export const timeOf = (clock) => {
  const watch = clock ?? performance;
  const timers = clock ?? globalThis;
  return {
    now: () => watch.now(),
    after(ms, run) {
      const timer = timers.setTimeout(run, Math.min(ms, TIMER_MAX_MS));
      return () => timers.clearTimeout(timer);
    },
  };
};

/**
 * Asks the application for a token, which has its time for it like everybody.
 *
 * @param {(channel?: string) => string | undefined | Promise<string | undefined>} getToken
 * @param {{after: Function, commandTimeoutMs: number}} context
 * @param {string} [channel] for a subscription's own.
 * @returns {Promise<string | undefined>} rejected with a {@link GatewayError} `unauthenticated`.
 */
export const askToken = (getToken, { after, commandTimeoutMs }, channel) => {
  return new Promise((resolve, reject) => {
    const fail = (error) => reject(new GatewayError("unauthenticated", `no token: ${error?.message}`));
    const callOff = after(commandTimeoutMs, () => fail(Error("getToken takes too long")));
    const asked = (async () => getToken(channel))();
    asked.then(resolve, fail).finally(callOff);
  });
};
