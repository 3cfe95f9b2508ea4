/** What both sides of the wire agree on: names, sizes and errors. */

const NAME_BYTES_MAX = 255;
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
   * @param {{temporary?: boolean, retryAfterMs?: number}} [more]
   */
  constructor(code, message, { temporary = false, retryAfterMs } = {}) {
    super(message);
    this.name = "GatewayError";
    this.code = code;
    /** The same may succeed later. */
    this.temporary = temporary;
    /** When that is, in ms, where it is known. */
    this.retryAfterMs = retryAfterMs;
  }

  /** An `error` reply of the gateway as an error. */
  static of(reply) {
    const more = { temporary: reply.temporary === true, retryAfterMs: reply.retry_after_ms };
    return new GatewayError(String(reply.code), String(reply.message), more);
  }
}

/** How long a text is on the wire, in bytes. */
export function byteLength(text) {
  return encoder.encode(text).length;
}

/**
 * Refuses a channel name that no gateway takes, so that it is not counted there as a bad message.
 *
 * @throws {TypeError}
 */
export function checkChannel(channel) {
  checkName("a channel", channel);
  if (/^[@$]|[\s\p{Cc},{}*]/u.test(channel)) {
    throw new TypeError("a channel's name has no spaces, commas, braces or `*` and does not begin with `@` or `$`");
  }
}

/**
 * Refuses an `event` or `key` that is not 1 to 255 bytes long.
 *
 * @throws {TypeError}
 */
export function checkName(what, name) {
  if (typeof name !== "string" || name === "" || byteLength(name) > NAME_BYTES_MAX) {
    throw new TypeError(`${what} is named by a string of 1 to ${NAME_BYTES_MAX} bytes`);
  }
}

/**
 * A command as text.
 *
 * @throws {TypeError} if its data is not JSON, or holds half a character (a lone surrogate), which gateways refuse.
 */
export function encode(command) {
  if ("data" in command && JSON.stringify(command.data) === undefined) {
    throw new TypeError("`data` is a JSON value: undefined, functions and symbols are not");
  }
  const text = JSON.stringify(command);
  if (text.includes("\\ud") && text.match(/\\(?:u[0-9a-f]{4}|[^u])/g).some((escape) => /^\\ud[89a-f]/.test(escape))) {
    throw new TypeError("a string holds half a character (a lone surrogate)");
  }
  return text;
}

/**
 * The address of a gateway as a WebSocket takes it.
 *
 * @param {string} url absolute, or relative to the page; http and https become ws and wss.
 */
export function socketUrl(url) {
  const absolute = new URL(url, globalThis.location?.href);
  if (absolute.protocol === "http:") absolute.protocol = "ws:";
  if (absolute.protocol === "https:") absolute.protocol = "wss:";
  absolute.hash = "";
  return absolute.href;
}

/** Tells of a fault in the application's own handler without letting it disturb the client. */
export function report(error) {
  if (typeof globalThis.reportError === "function") {
    globalThis.reportError(error);
  } else {
    queueMicrotask(() => {
      throw error;
    });
  }
}
