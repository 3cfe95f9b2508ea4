/** The way to the gateway: a connection that comes back as each close advises, by WebSocket or else by polling. */

import { adviceFor, createBackoff } from "./advice.js";
import { createConnection } from "./connection.js";
import { FAILURES_MAX, FAILURES_MAX_PROVEN, OVERLAP_MS, RETURN_CEILING_MS, RETURN_FIRST_MS } from "./limits.js";
import { openPoll } from "./poll.js";
import { askToken } from "./time.js";
import { errorOf, GatewayError, passing } from "./wire.js";

const WEBSOCKET = "websocket";
const POLL = "poll";

/** What the close says when there was none: the network or the node was lost. */
const LOST = 1006;

/**
 * The link, closed at first.
 *
 * @param {string} url of the WebSocket.
 * @param {object} context time, ids and the options of the client.
 * @param {object} on `tell(type, detail)`: an event; `push(type, said)`; `up()`: there is a connection to ask, maybe
 *   another; `lost()`: what there was is over; `shut(error)`: nor will there be one.
 */
export const createLink = (url, context, on) => {
  const { now, after, random, getToken, backoffFirstMs = 500, backoffCeilingMs } = context;
  const { transports = [WEBSOCKET, POLL], WebSocket = globalThis.WebSocket } = context;
  const usesWebSocket = transports.includes(WEBSOCKET);
  const backoff = createBackoff(random, backoffFirstMs, backoffCeilingMs);
  let { token } = context;
  let state = "closed";
  let transport = null;
  let connection = null;
  /** The WebSocket that is to take over from polling. */
  let successor = null;
  let attempt = 0;
  let failures = 0;
  let failuresMax = FAILURES_MAX;
  let returnMs = RETURN_FIRST_MS;
  /** Of the timer: of the wait, or of the next try to return to the WebSocket. */
  let callOff = () => {};
  let waitsForNetwork = false;
  let connectedAt;
  /** When the gateway has told this connection to come back, after which time. */
  let toldMs;
  /** Those who wait for the connection. */
  const awaiting = [];

  const open = () => (connection?.welcome ? connection : null);

  const request = async (command) => {
    if (!open()) throw passing("offline", "no connection");
    return connection.request(command);
  };

  const auth = async (shown) => {
    token = shown;
    if (token && open()) return request({ type: "auth", token });
  };

  const freshToken = async () => (getToken ? askToken(getToken, context) : token);

  const connect = () => {
    if (state === "connected") return Promise.resolve();
    const connected = new Promise((resolve, reject) => awaiting.push((error) => (error ? reject(error) : resolve())));
    // Whoever does not wait for it sees the state.
    connected.catch(() => {});
    if (state === "closed") listenForWaking("addEventListener");
    if (state !== "connecting") dial();
    return connected;
  };

  const close = () => {
    if (state !== "closed") shut(1000, "closed by this client");
  };

  /** Goes on with a token, if nothing else has been begun or ended before it is there. */
  const withToken = (act, fail) => {
    const asking = (attempt += 1);
    const ifStill = (go) => (result) => asking === attempt && go(result);
    return freshToken().then(ifStill(act), ifStill(fail));
  };

  const dial = () => {
    callOff();
    const isPollDue = failures >= failuresMax || !usesWebSocket;
    const kind = isPollDue && transports.includes(POLL) ? POLL : WEBSOCKET;
    become("connecting");
    if (state !== "connecting") return;
    withToken(
      (shown) => (connection = begin(kind, shown)),
      (error) => wait(backoff.next(), LOST, error.message),
      // A wrong address, a token that fits no header, or a page that may not connect there: no attempt would succeed.
    ).catch((error) => shut(LOST, `cannot connect: ${error.message}`));
  };

  const begin = (kind, shown) => {
    const protocols = ["gateway.v1.json", ...(shown ? [`gateway.bearer.${shown}`] : [])];
    toldMs = 0;
    const socket = kind === POLL ? openPoll(url, shown) : new WebSocket(url, protocols);
    const made = createConnection(socket, context, {
      welcome: () => welcomed(made, kind),
      push: (...pushed) => made === connection && take(...pushed),
      idle: takeOver,
      end(ended) {
        if (made === successor) keepPolling();
        else if (made === connection) lost(kind, ended);
      },
    });
    return made;
  };

  const welcomed = (made, kind) => {
    if (kind === WEBSOCKET) [failures, failuresMax, returnMs] = [0, FAILURES_MAX_PROVEN, RETURN_FIRST_MS];
    if (made === successor) takeOver();
    else up(kind);
  };

  const up = (kind) => {
    transport = kind;
    connectedAt = now();
    become("connected", { ...connection.welcome, transport });
    // A handler of that may have closed it.
    if (state !== "connected") return;
    if (kind === POLL && usesWebSocket) callOff = after(returnMs, tryWebSocket);
    on.up();
    settle();
  };

  const tryWebSocket = () =>
    withToken((shown) => (successor = begin(WEBSOCKET, shown)), keepPolling).catch(keepPolling);

  const keepPolling = () => {
    successor = null;
    returnMs = Math.min(RETURN_CEILING_MS, 2 * returnMs);
    callOff = after(returnMs, tryWebSocket);
    on.up();
  };

  /** In a moment when nothing is unanswered: so none of it is in doubt, and all else goes on from its position. */
  const takeOver = () => {
    if (!successor?.welcome || open()?.answers.size !== 0) return;
    after(OVERLAP_MS, connection.close);
    follow();
  };

  /** Goes on with the successor, if there is one. */
  const follow = () => {
    callOff();
    attempt += 1;
    [connection, successor] = [successor, null];
    on.lost();
    if (open()) up(WEBSOCKET);
    else if (connection) become("connecting");
  };

  const lost = (kind, { code = LOST, reason = "", retryMs }) => {
    if (state === "connected") backoff.lasted(now() - connectedAt);
    else failures = kind === WEBSOCKET && code === LOST ? failures + 1 : 0;
    follow();
    if (connection) return;
    const advice = adviceFor(code);
    if (advice === "never") shut(code, reason);
    else wait(advice === "told" ? backoff.told(toldMs) : backoff.next(retryMs), code, reason);
  };

  const wait = (delayMs, code, reason) => {
    callOff = after(delayMs, dial);
    waitsForNetwork = code === LOST;
    become("waiting", { delayMs, code, reason });
  };

  /** No way on: until somebody calls `connect` again. */
  const shut = (code, reason) => {
    callOff();
    attempt += 1;
    connection?.close();
    successor?.close();
    connection = successor = null;
    on.lost();
    listenForWaking("removeEventListener");
    const error = new GatewayError("closed", reason || `close code ${code}`);
    on.shut(error);
    settle(error);
    become("closed", { code, reason });
  };

  const settle = (error) => {
    for (const waiter of awaiting.splice(0)) waiter(error);
  };

  const become = (next, detail) => {
    state = next;
    on.tell("state", { ...detail, state });
  };

  const take = (type, said) => {
    if (type === "reconnect") toldMs = said.after_ms;
    else if (type === "error") on.tell(type, errorOf(said));
    else if (type === "message" || type === "expiring") on.tell(type, said);
    else on.push(type, said);
    // Without a new token the connection ends with 4104, and comes back with another try.
    if (type === "expiring" && getToken) freshToken().then(auth).catch((error) => on.tell("error", error));
  };

  /** The machine wakes or has a network again: what was taken for granted may be over, and what was waited for. */
  const wake = ({ type }) => {
    if (globalThis.document?.visibilityState === "hidden") return;
    open()?.probe();
    if (type === "online" && state === "waiting" && waitsForNetwork) {
      callOff();
      // Not at once: the same network may have brought others back.
      callOff = after(random() * backoffFirstMs, dial);
    }
  };

  const listenForWaking = (act) => {
    for (const type of ["online", "visibilitychange"]) globalThis[act]?.(type, wake);
  };

  return {
    ...context,
    state: () => state,
    transport: () => (open() ? transport : null),
    open,
    /** Whether a connection is about to take over from another, which no more is to be published on. */
    isMoving: () => Boolean(successor?.welcome),
    connect,
    close,
    auth,
    request,
  };
};
