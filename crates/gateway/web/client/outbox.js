/** Publications that wait for the gateway's answer: bounded, in order, and repeated only where that is harmless. */

import { createBackoff } from "./advice.js";
import { KEY_HOLDS_MS, WINDOW } from "./limits.js";
import { byteLength, encode, GatewayError, passing } from "./wire.js";

/** After these nobody knows whether a publication has been delivered. */
const UNKNOWN = ["connection_lost", "unknown_outcome"];

/**
 * The queue.
 *
 * @param {object} link time, ids and options, and the connection: `open()`, and `isMoving()` from one to the next.
 */
export const createOutbox = (link) => {
  const { now, after, random, nextId, open, isMoving } = link;
  const { queueMessages = 1000, queueBytes = 1024 * 1024, publishTimeoutMs = 30_000 } = link;
  /** All that is unanswered, in the order of the calls: what is to be sent again keeps its place. */
  const queue = new Set();
  const backoff = createBackoff(random);
  let bytes = 0;
  let sentCount = 0;
  let endPause;

  /**
   * Takes a publication. With a key a repeat is harmless; a volatile one never waits and is never repeated.
   *
   * @param {object} command
   * @param {number} [timeoutMs]
   * @param {(position: {epoch?: string, offset?: number}) => void} onPublished called in the moment of the answer.
   * @returns {Promise<{epoch?: string, offset?: number}>}
   */
  const add = async (command, timeoutMs = publishTimeoutMs, onPublished) => {
    const { key, volatile } = command;
    const id = nextId();
    const text = encode({ ...command, id });
    const size = byteLength(text);
    if (volatile && !open()) throw passing("offline", "no connection");
    const isFull = queue.size >= queueMessages || bytes + size > queueBytes;
    if (isFull) throw passing("queue_full", `${queue.size} publications wait`);
    return new Promise((resolve, reject) => {
      let isSent = false;
      let isUncertain = false;
      let firstSentAt;

      const unsend = () => {
        if (isSent) sentCount -= 1;
        isSent = false;
      };

      const forget = () => {
        callOff();
        unsend();
        queue.delete(entry);
        bytes -= size;
      };

      const fail = (error) => {
        forget();
        reject(isUncertain ? passing("unknown_outcome", `perhaps delivered: ${error.message}`) : error);
      };

      const send = () => {
        if (isSent) return;
        firstSentAt ??= now();
        if (isUncertain && now() - firstSentAt > KEY_HOLDS_MS) return fail(Error("its key is too old"));
        const maxBytes = open().welcome.max_message_bytes;
        if (size > maxBytes) return fail(new GatewayError("too_large", `over ${maxBytes} bytes`));
        isSent = true;
        sentCount += 1;
        open().ask(id, text, answered);
      };

      const answered = (reply, error) => {
        // Its time may have run out meanwhile.
        if (!queue.has(entry)) return;
        const isUnknown = UNKNOWN.includes(error?.code);
        isUncertain ||= isUnknown && !volatile;
        if (!error) {
          const { channel, ...position } = reply;
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
      };

      const callOff = after(timeoutMs, () => {
        isUncertain ||= isSent;
        fail(passing("timeout", "no answer in time"));
        flush();
      });
      const entry = { send, fail };
      queue.add(entry);
      bytes += size;
      if (volatile) send();
      else flush();
    });
  };

  /** A new connection, or the pause is over. */
  const resume = () => {
    endPause?.();
    endPause = undefined;
    flush();
  };

  /** Sends what may be sent now. */
  const flush = () => {
    for (const { send } of queue) {
      if (sentCount >= WINDOW || endPause || isMoving() || !open()) return;
      send();
    }
  };

  /** Gives all of it up. */
  const failAll = (error) => {
    for (const { fail } of queue) fail(error);
  };

  /** How much is unanswered. */
  const size = () => ({ messages: queue.size, bytes });

  return { add, resume, failAll, size };
};
