/** Tokens from the application, which has its time for them like everybody. */

/**
 * Asks the application for a token.
 *
 * @param {() => string | undefined | Promise<string | undefined>} getToken
 * @param {import("../client.d.ts").Clock} clock
 * @param {number} ms how long it may take.
 * @returns {Promise<string | undefined>}
 */
export function freshToken(getToken, clock, ms) {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(new Error(`getToken took over ${ms} ms`)), ms);
    const settle = (settled) => (value) => {
      clock.clearTimeout(timer);
      settled(value);
    };
    new Promise((begin) => begin(getToken())).then(settle(resolve), settle(reject));
  });
}
