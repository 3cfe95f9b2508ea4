/** Publications that wait for the gateway's answer: bounded, in order, and repeated only where that is harmless. */

import { createBackoff } from "./advice.js";
import { byteLength, GatewayError } from "./wire.js";

/** Unanswered publications on one connection; the others wait here rather than in the socket. */
const WINDOW = 64;

/** Gateways know a key for five minutes: after four no repeat is made. */
const KEY_HOLDS_MS = 240_000;

/** After these nobody knows whether a publication has been delivered. */
const UNKNOWN = ["connection_lost", "unknown_outcome"];

/**
 * The queue.
 *
 * @param {object} context time, options, and the connection: `open()`, and `isMoving()` from one to the next.
 */
export function createOutbox({ now, after, random, open, isMoving, queueMessages = 1000, queueBytes = 1024 * 1024 }) {
  /** All that is unanswered, in the order of the calls: what is to be sent again keeps its place. */
  const queue = new Set();
  const backoff = createBackoff(random);
  let bytes = 0;
  let sentCount = 0;
  let endPause;

  return {
    /** How much is unanswered. */
    size: () => ({ messages: queue.size, bytes }),
    add,
    resume,

    /** Gives all of it up. */
    fail(error) {
      for (const entry of queue) entry.fail(error);
    },
  };

  /**
   * Takes a publication.
   *
   * @param {string} text the command, encoded.
   * @param {object} how `id` of the command; `key`: with one a repeat is harmless; `volatile`: never waits and is never repeated;
   *   `timeoutMs`; `onPublished(position)`, called in the moment of the answer.
   * @returns {Promise<{epoch?: string, offset?: number}>}
   */
  async function add(text, { id, key, volatile, timeoutMs, onPublished }) {
    const size = byteLength(text);
    if (volatile && !open()) throw new GatewayError("offline", "no connection", true);
    if (queue.size >= queueMessages || bytes + size > queueBytes) {
      throw new GatewayError("queue_full", `${queue.size} publications wait`, true);
    }
    return new Promise((resolve, reject) => {
      let isSent = false;
      let isUncertain = false;
      let firstSentAt;
      const entry = { send, fail };
      const callOff = after(timeoutMs, () => {
        isUncertain ||= isSent;
        fail(new GatewayError("timeout", "no answer in time", true));
        flush();
      });
      queue.add(entry);
      bytes += size;
      if (volatile) send();
      else flush();

      function send() {
        if (isSent) return;
        firstSentAt ??= now();
        if (isUncertain && now() - firstSentAt > KEY_HOLDS_MS) return fail(Error("its key is too old"));
        if (size > open().welcome.max_message_bytes) return fail(new GatewayError("too_large", "over max_message_bytes"));
        isSent = true;
        sentCount += 1;
        // Its time may have run out before the answer.
        open().ask(id, text, (...answer) => queue.has(entry) && answered(...answer));
      }

      function answered(reply, error) {
        const isUnknown = UNKNOWN.includes(error?.code);
        isUncertain ||= isUnknown && !volatile;
        if (!error) {
          const { epoch, offset } = reply;
          const position = epoch ? { epoch, offset } : {};
          forget();
          onPublished(position);
          resolve(position);
        } else if (!volatile && (isUnknown ? key : error.temporary)) {
          unsend();
          endPause ??= after(error.retryAfterMs ?? backoff.next(), resume);
        } else {
          fail(error);
        }
        flush();
      }

      function fail(error) {
        forget();
        reject(isUncertain ? new GatewayError("unknown_outcome", `perhaps delivered: ${error.message}`, true) : error);
      }

      function unsend() {
        if (isSent) sentCount -= 1;
        isSent = false;
      }

      function forget() {
        callOff();
        unsend();
        queue.delete(entry);
        bytes -= size;
      }
    });
  }

  /** A new connection, or the pause is over. */
  function resume() {
    endPause?.();
    endPause = undefined;
    flush();
  }

  /** Sends what may be sent now. */
  function flush() {
    for (const entry of queue) {
      if (sentCount >= WINDOW || endPause || isMoving() || !open()) return;
      entry.send();
    }
  }
}
