/** The way to the gateway: a connection that comes back as each close advises, by WebSocket or where that fails by polling. */

import { adviceFor, createBackoff } from "./advice.js";
import { createConnection } from "./connection.js";
import { openPoll } from "./poll.js";
import { askToken } from "./time.js";
import { errorOf, GatewayError } from "./wire.js";

/** What the close says when there was none: the network or the node was lost. */
const LOST = 1006;

/** So often in a row a WebSocket has to fail to open before polling is tried; more often, where one did open before. */
const FAILURES_MAX = 2;
const FAILURES_MAX_PROVEN = 4;

/** While polling, a WebSocket is tried again after this time, and after twice as long each time it fails. */
const RETURN_FIRST_MS = 60_000;
const RETURN_CEILING_MS = 600_000;

/** A session that was polled is left only once its subscriptions are on the WebSocket: its user never seems to be gone. */
const OVERLAP_MS = 3_000;

/**
 * The link, closed at first.
 *
 * @param {string} url of the WebSocket.
 * @param {object} context time, ids and the options of the client.
 * @param {object} on `tell(type, detail)`: an event; `up()`: there is a connection to ask, maybe another; `lost()`: what
 *   there was is over; `shut(error)`: nor will there be one; `push(type, said)`.
 */
export function createLink(url, context, on) {
  const { now, after, random, getToken, transports = ["websocket", "poll"], backoffFirstMs = 500, backoffCeilingMs } = context;
  const { WebSocket = globalThis.WebSocket } = context;
  const [usesWebSocket, usesPoll] = ["websocket", "poll"].map((kind) => transports.includes(kind));
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

  function open() {
    return connection?.welcome ? connection : null;
  }

  async function request(command) {
    if (!open()) throw new GatewayError("offline", "no connection", true);
    return connection.request(command);
  }

  async function auth(shown) {
    token = shown;
    if (open()) return request({ type: "auth", token });
  }

  async function freshToken() {
    return getToken ? askToken(getToken, context) : token;
  }

  function connect() {
    if (state === "connected") return Promise.resolve();
    const connected = new Promise((resolve, reject) => awaiting.push((error) => (error ? reject(error) : resolve())));
    // Whoever does not wait for it sees the state.
    connected.catch(() => {});
    if (state === "closed") listenForWaking("addEventListener");
    if (state !== "connecting") dial();
    return connected;
  }

  function close() {
    if (state !== "closed") shut(1000, "closed by this client");
  }

  function dial() {
    callOff();
    const dialing = (attempt += 1);
    const kind = usesPoll && (failures >= failuresMax || !usesWebSocket) ? "poll" : "websocket";
    const ifStill = (act) => (result) => dialing === attempt && act(result);
    const begun = (shown) => (connection = begin(kind, shown));
    become("connecting");
    freshToken()
      .then(ifStill(begun), ifStill((error) => wait(backoff.next(), LOST, error.message)))
      // A wrong address, a token that fits no header, or a page that may not connect there: no attempt would succeed.
      .catch((error) => shut(LOST, `cannot connect: ${error.message}`));
  }

  function begin(kind, shown) {
    const protocols = ["gateway.v1.json", ...(shown ? [`gateway.bearer.${shown}`] : [])];
    const socket = kind === "poll" ? openPoll(url, shown) : new WebSocket(url, protocols);
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
  }

  function welcomed(made, kind) {
    if (kind === "websocket") [failures, failuresMax, returnMs] = [0, FAILURES_MAX_PROVEN, RETURN_FIRST_MS];
    if (made === successor) takeOver();
    else up(kind);
  }

  function up(kind) {
    const isChange = transport !== kind;
    transport = kind;
    toldMs = 0;
    connectedAt = now();
    const { client, node } = connection.welcome;
    become("connected", { client, node });
    if (isChange) on.tell("transport", { transport });
    // A handler of those may have closed it.
    if (state !== "connected") return;
    if (kind === "poll" && usesWebSocket) callOff = after(returnMs, tryWebSocket);
    on.up();
    settle();
  }

  function tryWebSocket() {
    const polled = connection;
    const ifStill = (act) => (result) => polled === connection && act(result);
    const begun = (shown) => (successor = begin("websocket", shown));
    freshToken().then(ifStill(begun)).catch(ifStill(keepPolling));
  }

  function keepPolling() {
    successor = null;
    returnMs = Math.min(RETURN_CEILING_MS, 2 * returnMs);
    callOff = after(returnMs, tryWebSocket);
    on.up();
  }

  /** In a moment when nothing is unanswered: so none of it is in doubt, and all else goes on from its position. */
  function takeOver() {
    if (!successor?.welcome || connection.answers.size > 0) return;
    after(OVERLAP_MS, connection.close);
    follow();
  }

  /** Goes on with the successor, if there is one. */
  function follow() {
    callOff();
    [connection, successor] = [successor, null];
    on.lost();
    if (open()) up("websocket");
    else if (connection) become("connecting");
  }

  function lost(kind, { code = LOST, reason = "", retryMs }) {
    if (state === "connected") backoff.lasted(now() - connectedAt);
    else failures = kind === "websocket" && code === LOST ? failures + 1 : 0;
    follow();
    if (connection) return;
    const advice = adviceFor(code);
    if (advice === "never") shut(code, reason);
    else wait(advice === "told" ? backoff.told(toldMs) : backoff.next(retryMs), code, reason);
  }

  function wait(delayMs, code, reason) {
    callOff = after(delayMs, dial);
    waitsForNetwork = code === LOST;
    become("waiting", { delayMs, code, reason });
  }

  /** No way on: until somebody calls `connect` again. */
  function shut(code, reason) {
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
  }

  function settle(error) {
    for (const waiter of awaiting.splice(0)) waiter(error);
  }

  function become(next, detail) {
    state = next;
    on.tell("state", { state, ...detail });
  }

  function take(type, said) {
    if (type === "error") on.tell(type, errorOf(said));
    else if (type === "reconnect") toldMs = said.after_ms;
    else if (type === "message") on.tell(type, said);
    else if (type === "expiring") {
      // Without a new token the connection ends with 4104, and comes back with another try.
      if (getToken) freshToken().then((shown) => shown && auth(shown)).catch((error) => on.tell("error", error));
      on.tell(type, said);
    } else on.push(type, said);
  }

  /** The machine wakes or has a network again: what was taken for granted may be over, and what was waited for. */
  function wake({ type }) {
    if (globalThis.document?.visibilityState === "hidden") return;
    open()?.probe();
    if (type === "online" && state === "waiting" && waitsForNetwork) {
      callOff();
      // Not at once: the same network may have brought others back.
      callOff = after(random() * backoffFirstMs, dial);
    }
  }

  function listenForWaking(act) {
    globalThis[act]?.("online", wake);
    globalThis.document?.[act]("visibilitychange", wake);
  }
}
