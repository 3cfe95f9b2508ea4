/** One WebSocket, or what has its shape: answers by id, deadlines, and the watch for silence. */

import { PING_INTERVAL_DEFAULT_MS } from "./limits.js";
import { callSafely, encode, errorOf, passing } from "./wire.js";

/**
 * One connection.
 *
 * @param {WebSocket} socket fresh.
 * @param {object} context time, ids and the options of the client.
 * @param {object} on `welcome()` once; `push(type, said)` for all else that nobody asked for; `idle()` whenever the last
 *   answer is there; `end({code?, reason?, retryMs?})` once, whatever ended it, unless that was `close()`; `retryMs` is
 *   how long to stay away at least.
 */
export const createConnection = (socket, context, on) => {
  const { after, nextId, onFrame, commandTimeoutMs, welcomeTimeoutMs = 10_000, pongTimeoutMs = 10_000 } = context;
  /** Who waits for an answer, by id. */
  const answers = new Map();
  let callOff = after(welcomeTimeoutMs, () => drop("no welcome in time"));

  /** Sends a command that bears `id`. `answer` is called once: with the reply, or with undefined and an error. */
  const ask = (id, text, answer) => {
    answers.set(id, answer);
    callSafely(onFrame, "out", text);
    socket.send(text);
  };

  /** The same with a command that has no id yet. */
  const say = (command, answer, id = nextId()) => ask(id, encode({ ...command, id }), answer);

  /**
   * Sends a command and waits for its answer.
   *
   * @returns {Promise<object>} what the reply says; rejected with a `GatewayError`.
   */
  const request = (command) =>
    new Promise((resolve, reject) => {
      const id = nextId();
      const callOffWait = after(commandTimeoutMs, () => answer(id, undefined, passing("timeout", "no answer in time")));
      const settle = (reply, error) => {
        callOffWait();
        if (error) reject(error);
        else resolve(reply);
      };
      say(command, settle, id);
    });

  const answer = (id, reply, error) => {
    const take = answers.get(id);
    answers.delete(id);
    take?.(reply, error);
    if (answers.size === 0) on.idle();
  };

  const take = ({ data }) => {
    callSafely(onFrame, "in", data);
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      // It may have been a publication: come back and recover it.
      return drop("a message was not JSON");
    }
    const { type, id, ...said } = message ?? {};
    if (connection.welcome) {
      watch();
      if (answers.has(id)) answer(id, said, type === "error" ? errorOf(said) : undefined);
      else if (id === undefined) on.push(type, said);
    } else if (type === "welcome" && socket.onmessage) {
      connection.welcome = said;
      watch();
      on.welcome();
    }
  };

  /** Browsers answer the gateway's pings without telling the page: silence is noticed by asking. */
  const watch = () => {
    callOff();
    callOff = after(2 * (connection.welcome.ping_interval_ms || PING_INTERVAL_DEFAULT_MS), probe);
  };

  /** Asks for a sign of life now, as when the machine wakes; if nothing at all is heard the connection ends. */
  const probe = () => {
    say({ type: "ping" }, () => {});
    callOff();
    callOff = after(pongTimeoutMs, () => drop("the gateway is silent"));
  };

  const drop = (reason) => end({ reason }, 4000);

  const end = (event, closeCode) => {
    finish(closeCode);
    on.end(event);
  };

  /** Ends it from this side; nothing is called any more but the answers that still wait. */
  const finish = (closeCode) => {
    callOff();
    connection.welcome = socket.onmessage = socket.onclose = null;
    if (closeCode) socket.close(closeCode);
    for (const id of answers.keys()) answer(id, undefined, passing("connection_lost", "the connection broke"));
  };

  /** `welcome` is the gateway's first message, and there as long as commands may be sent. */
  const connection = { welcome: null, answers, ask, say, request, probe, close: () => finish(1000) };
  socket.onmessage = take;
  socket.onclose = (event) => end(event);
  // A close follows, and says all that a page may know.
  socket.onerror = () => {};
  return connection;
};
