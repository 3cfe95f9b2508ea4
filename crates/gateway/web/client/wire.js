/** What both sides of the wire agree on: names, sizes and errors. */

import { NAME_BYTES_MAX } from "./limits.js";

const encoder = new TextEncoder();

/**
 * Why something was not done. `code` is for programs: one of the gateway's error codes, or one of the client's own:
 *
 * - `offline`: there is no connection, and this is not something that waits for one;
 * - `queue_full`: as many publications wait as may;
 * - `timeout`: not done in time; a publication has not been delivered and will not be;
 * - `connection_lost`: the connection broke before the answer;
 * - `unknown_outcome`: a publication may or may not have been delivered;
 * - `closed`: this client has been closed, or was told to stay away.
 */
export class GatewayError extends Error {
  /**
   * @param {string} code
   * @param {string} message for people.
   * @param {boolean} [temporary] the same may succeed later.
   * @param {number} [retryAfterMs] when that is, where it is known.
   */
  constructor(code, message, temporary = false, retryAfterMs) {
    super(message);
    Object.assign(this, { name: "GatewayError", code, temporary, retryAfterMs });
  }
}

/** The `error` of a gateway as it is thrown. */
export const errorOf = (reply) => new GatewayError(reply.code, reply.message, reply.temporary, reply.retry_after_ms);

/** An error that may be over when the same is tried again. */
export const passing = (code, message) => new GatewayError(code, message, true);

/** How long a text is on the wire, in bytes. */
export const byteLength = (text) => encoder.encode(text).length;

/**
 * Refuses a channel name that no gateway takes, so that it is not counted there as a bad message.
 *
 * @throws {TypeError}
 */
export const checkChannel = (channel = "") => {
  checkNames({ channel });
  if (/^[@$]|[\s\p{Cc},{}*]/u.test(channel)) throw TypeError("channel: not a name for one");
};

/**
 * Refuses names that are not 1 to 255 bytes long, among those that are given.
 *
 * @throws {TypeError}
 */
export const checkNames = (names) => {
  for (const what in names) {
    const name = names[what];
    const isName = typeof name === "string" && name !== "" && byteLength(name) <= NAME_BYTES_MAX;
    if (!isName && name !== undefined) throw TypeError(`${what}: not a string of 1 to ${NAME_BYTES_MAX} bytes`);
  }
};

/**
 * A command as text.
 *
 * @throws {TypeError} if its data is not JSON, or holds half a character (a lone surrogate), which gateways refuse.
 */
export const encode = (command) => {
  if ("data" in command && JSON.stringify(command.data) === undefined) throw TypeError("data: not JSON");
  const text = JSON.stringify(command);
  // Only halves are escaped like this; without the pairs of backslashes each that is left begins an escape.
  if (text.replaceAll("\\\\", "").includes("\\ud")) throw TypeError("a lone surrogate");
  return text;
};

/**
 * The address of a gateway as a WebSocket takes it.
 *
 * @param {string} url absolute, or relative to the page; http and https become ws and wss.
 */
export const socketUrl = (url) => {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace("http", "ws");
  absolute.hash = "";
  return absolute.href;
};

/** Calls what the application has given, whose faults are told of and disturb nothing. */
export const callSafely = (handler, ...told) => {
  try {
    handler?.(...told);
  } catch (error) {
    if (globalThis.reportError) reportError(error);
    else Promise.reject(error);
  }
};
