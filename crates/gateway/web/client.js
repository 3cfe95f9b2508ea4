/**
 * The browser's client of the gateway: one connection that comes back by itself, and channels that miss nothing of what
 * the gateway still holds. No dependencies and no build step; under Node give it a `WebSocket`.
 *
 * ```js
 * import { Gateway } from "./client.js";
 *
 * const gateway = new Gateway("wss://chat.example/ws", { getToken: () => fetchToken() });
 * gateway.addEventListener("state", ({ detail }) => console.log(detail.state));
 * gateway.subscribe("news", {
 *   onPublication: ({ data, offset }) => show(data),
 *   onGap: () => reloadEverything(),
 * });
 * gateway.connect();
 * await gateway.publish("news", { text: "hello" });
 * ```
 */

import { adviceFor, Backoff } from "./client/advice.js";
import { Connection } from "./client/connection.js";
import { Outbox } from "./client/outbox.js";
import { Subscriptions } from "./client/subscriptions.js";
import { freshToken } from "./client/token.js";
import { byteLength, checkChannel, checkName, encode, GatewayError, report, socketUrl } from "./client/wire.js";

export { GatewayError };

/** What an option is if it is not given. Times in ms. */
const DEFAULTS = {
  commandTimeoutMs: 10_000,
  welcomeTimeoutMs: 10_000,
  pongTimeoutMs: 10_000,
  publishTimeoutMs: 30_000,
  backoffFirstMs: 500,
  backoffCeilingMs: 20_000,
  queueMessages: 1000,
  queueBytes: 1024 * 1024,
  keys: false,
};

const systemClock = {
  now: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/**
 * A connection to the gateway. Events, each a `CustomEvent` with a `detail`:
 *
 * - `state`: `{state, ...}`; connected: `{client, node}`; waiting: `{delayMs, code, reason}`; closed: `{code, reason}`;
 * - `message`: a private message, `{from, data, event?, encoding?}`;
 * - `expiring`: `{in_ms}`, the token ends soon; with `getToken` the client has already asked for a new one;
 * - `error`: a refusal that belongs to no promise, as a {@link GatewayError}.
 */
export class Gateway extends EventTarget {
  #url;
  #options;
  #clock;
  #token;
  #state = "closed";
  #connection = null;
  #opening = 0;
  #lastId = 0;
  #backoff;
  #waitTimer = null;
  #toldMs = null;
  #waitsForNetwork = false;
  #awaiting = [];
  #random;
  #subscriptions;
  #outbox;
  #wake = (event) => this.#awake(event);

  /**
   * @param {string} url of the gateway's `/ws`, absolute or relative to the page.
   * @param {import("./client.d.ts").GatewayOptions} [options]
   */
  constructor(url, options = {}) {
    super();
    this.#url = socketUrl(url);
    this.#options = { ...DEFAULTS, ...options };
    this.#token = options.token;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    const { backoffFirstMs: firstMs, backoffCeilingMs: ceilingMs, queueMessages, queueBytes } = this.#options;
    this.#backoff = new Backoff({ random: this.#random, firstMs, ceilingMs });
    const parts = { clock: this.#clock, random: this.#random, tokenMs: this.#options.commandTimeoutMs };
    const [connection, nextId] = [() => this.#connection, () => this.#nextId()];
    this.#subscriptions = new Subscriptions({ ...parts, connection, nextId });
    this.#outbox = new Outbox({ ...parts, connection, limits: { messages: queueMessages, bytes: queueBytes } });
  }

  /** `closed` (at first too), `connecting`, `connected`, or `waiting` for the next attempt. */
  get state() {
    return this.#state;
  }

  /** The id of the connection, to which others may `send`; null while there is none. */
  get client() {
    return this.#connection?.welcome?.client ?? null;
  }

  /** The id of the node at the other end; null while there is no connection. */
  get node() {
    return this.#connection?.welcome?.node ?? null;
  }

  /** The most bytes that a message may have, with all that is around its data; null while there is no connection. */
  get maxMessageBytes() {
    return this.#connection?.welcome?.max_message_bytes ?? null;
  }

  /** What has not been answered of what was published: `{messages, bytes}`. */
  get queued() {
    return this.#outbox.size;
  }

  /**
   * Connects, and from then on stays connected until `close` or until the gateway says to stay away. While waiting for
   * the next attempt: makes it now.
   *
   * @returns {Promise<void>} once connected; rejected with `closed` if it came to that first.
   */
  connect() {
    if (this.#state === "connected") return Promise.resolve();
    const connected = new Promise((resolve, reject) => this.#awaiting.push({ resolve, reject }));
    // Whoever does not wait for it sees the state.
    connected.catch(() => {});
    if (this.#state === "closed") this.#listenForWaking(true);
    if (this.#state !== "connecting") this.#open();
    return connected;
  }

  /** Closes for good. Subscriptions keep their positions: `connect` goes on where they were. */
  close() {
    if (this.#state === "closed") return;
    this.#connection?.close();
    this.#shut(1000, "closed by this client");
  }

  /**
   * Shows a new token: now, if connected, and whenever connecting from now on (without `getToken`).
   *
   * @param {string} token
   * @returns {Promise<{user: string, expires_in?: number} | undefined>}
   */
  async auth(token) {
    this.#token = token;
    if (this.#connection?.isOpen) return this.#request({ type: "auth", token });
  }

  /**
   * Subscribes to a channel, now and again after every reconnect. A channel has one subscription at a time.
   *
   * @param {string} channel
   * @param {import("./client.d.ts").SubscribeOptions} [options] what to call, and with what to begin.
   * @returns {import("./client/subscription.js").Subscription}
   * @throws {TypeError} if that is not a channel's name. @throws {GatewayError} `already_subscribed`.
   */
  subscribe(channel, options = {}) {
    return this.#subscriptions.add(channel, options);
  }

  /**
   * Publishes. While there is no connection it waits, and a refusal that passes is repeated. What is already on its way
   * when the connection breaks is repeated only if it has a `key`, because it may have been delivered. Publications go
   * out in the order of the calls; one that had to be repeated may come after a younger one. With `echo: false` one may
   * come back all the same, if the connection broke before its answer.
   *
   * @param {string} channel
   * @param {unknown} data any JSON value.
   * @param {import("./client.d.ts").PublishOptions} [options]
   * @returns {Promise<{epoch?: string, offset?: number}>} where it is in the channel's history, if that has one.
   */
  async publish(channel, data, { event, key, retain, echo, volatile, timeoutMs = this.#options.publishTimeoutMs } = {}) {
    checkChannel(channel);
    if (event !== undefined) checkName("an event", event);
    if (retain !== undefined) checkName("a key to retain under", retain);
    if (key === undefined && this.#options.keys && !volatile) key = randomKey();
    if (key !== undefined) checkName("a key", key);
    if (this.#state === "closed") throw new GatewayError("closed", "there is no connection: call connect()");
    const id = this.#nextId();
    const text = encode({ type: "publish", id, channel, event, key, retain, volatile, echo, data });
    return this.#outbox.add({
      id,
      text,
      bytes: byteLength(text),
      hasKey: key !== undefined,
      volatile: volatile === true,
      timeoutMs,
      onPublished: (position) => {
        if (echo === false) this.#subscriptions.spare(channel, position);
      },
    });
  }

  /**
   * Sends a private message to one connection, at most once.
   *
   * @param {string} to its id: the `client` of a `from`, or of its own {@link Gateway}.
   * @param {unknown} data any JSON value.
   * @param {{event?: string}} [options]
   */
  async send(to, data, { event } = {}) {
    checkName("a connection", to);
    if (event !== undefined) checkName("an event", event);
    await this.#request({ type: "send", to, data, event });
  }

  /**
   * Who is in a channel.
   *
   * @param {string} channel
   * @param {{countOnly?: boolean}} [options]
   * @returns {Promise<{members?: object[], clients: number, users: number}>} `members` is absent in large channels.
   */
  async presence(channel, { countOnly } = {}) {
    checkChannel(channel);
    const { members, clients, users } = await this.#request({ type: "presence", channel, count_only: countOnly });
    return { members, clients, users };
  }

  /**
   * A channel's past, oldest first unless `reverse`.
   *
   * @param {string} channel
   * @param {{limit?: number, since?: number | {epoch: string, offset: number}, reverse?: boolean}} [options]
   * @returns {Promise<{epoch: string, offset: number, publications: object[]}>} `offset` is the channel's newest.
   */
  async history(channel, { limit, since, reverse } = {}) {
    checkChannel(channel);
    const reply = await this.#request({ type: "history", channel, limit, since, reverse });
    const publications = reply.publications.map((publication) => ({ ...publication, channel }));
    return { epoch: reply.epoch, offset: reply.offset, publications };
  }

  /** The round trip to the gateway, in ms. */
  async ping() {
    const sentAt = this.#clock.now();
    await this.#request({ type: "ping" });
    return this.#clock.now() - sentAt;
  }

  #nextId() {
    return (this.#lastId += 1);
  }

  async #request(command) {
    if (!this.#connection?.isOpen) throw new GatewayError("offline", "there is no connection", { temporary: true });
    return this.#connection.request(command, this.#options.commandTimeoutMs);
  }

  #open() {
    this.#clock.clearTimeout(this.#waitTimer);
    const opening = (this.#opening += 1);
    this.#toldMs = null;
    this.#become("connecting");
    // A handler of that may have closed it.
    if (opening !== this.#opening) return;
    if (this.#options.getToken === undefined) return this.#dial(this.#token);
    this.#freshToken().then(
      (token) => opening === this.#opening && this.#dial(token),
      (error) => opening === this.#opening && this.#wait(this.#backoff.next(), 1006, `no token: ${error?.message}`),
    );
  }

  #freshToken() {
    return freshToken(this.#options.getToken, this.#clock, this.#options.commandTimeoutMs);
  }

  #dial(token) {
    const WebSocket = this.#options.WebSocket ?? globalThis.WebSocket;
    const protocols = ["gateway.v1.json", ...(token ? [`gateway.bearer.${token}`] : [])];
    let socket;
    try {
      socket = new WebSocket(this.#url, protocols);
    } catch (error) {
      // A wrong address, a token that fits no header, or a page that may not connect there: no attempt would succeed.
      return this.#shut(1006, `cannot connect: ${error.message}`);
    }
    const { welcomeTimeoutMs: welcomeMs, pongTimeoutMs: pongMs, onFrame } = this.#options;
    const on = {
      welcome: () => this.#welcomed(),
      push: (push) => this.#take(push),
      end: (ended) => this.#ended(ended),
      frame: (direction, text) => heard(onFrame, direction, text),
    };
    const waits = { welcomeMs, pongMs };
    this.#connection = new Connection({ socket, clock: this.#clock, nextId: () => this.#nextId(), waits, on });
  }

  #welcomed() {
    const opening = this.#opening;
    this.#become("connected", { client: this.client, node: this.node });
    // A handler of that may have closed it.
    if (opening !== this.#opening) return;
    this.#subscriptions.resume();
    this.#outbox.resume();
    for (const { resolve } of this.#awaiting.splice(0)) resolve();
  }

  #ended({ code, reason, lastedMs }) {
    this.#connection = null;
    this.#subscriptions.lost();
    this.#backoff.lasted(lastedMs);
    const advice = adviceFor(code);
    if (advice === "never") return this.#shut(code, reason);
    const isTold = advice === "told" && this.#toldMs !== null;
    this.#wait(isTold ? this.#backoff.told(this.#toldMs) : this.#backoff.next(), code, reason);
  }

  #wait(delayMs, code, reason) {
    this.#waitTimer = this.#clock.setTimeout(() => this.#open(), delayMs);
    this.#waitsForNetwork = code === 1006;
    this.#become("waiting", { delayMs, code, reason });
  }

  /** No way on: until somebody calls `connect` again. */
  #shut(code, reason) {
    this.#clock.clearTimeout(this.#waitTimer);
    this.#opening += 1;
    this.#connection = null;
    this.#subscriptions.lost();
    this.#listenForWaking(false);
    const why = reason || `close code ${code}`;
    this.#outbox.fail("closed", why);
    for (const { reject } of this.#awaiting.splice(0)) reject(new GatewayError("closed", why));
    this.#become("closed", { code, reason });
  }

  #become(state, detail = {}) {
    this.#state = state;
    this.#tell("state", { state, ...detail });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #take(push) {
    switch (push.type) {
      case "message":
        return this.#tell("message", { from: push.from, data: push.data, event: push.event, encoding: push.encoding });
      case "reconnect":
        this.#toldMs = Number(push.after_ms) || 0;
        return;
      case "expiring":
        this.#refreshToken();
        return this.#tell("expiring", { in_ms: push.in_ms });
      case "error":
        return this.#tell("error", GatewayError.of(push));
      default:
        this.#subscriptions.push(push);
    }
  }

  /** Without a new token the connection ends with 4104, and comes back with another try. */
  async #refreshToken() {
    if (this.#options.getToken === undefined) return;
    const opening = this.#opening;
    try {
      const token = await this.#freshToken();
      if (token && opening === this.#opening) await this.#request({ type: "auth", token });
    } catch (error) {
      const known = error instanceof GatewayError;
      this.#tell("error", known ? error : new GatewayError("unauthenticated", `no token: ${error?.message}`));
    }
  }

  /** The machine wakes or has a network again: what was taken for granted may be over, and what was waited for. */
  #awake(event) {
    if (globalThis.document.visibilityState === "hidden") return;
    if (this.#state === "connected") this.#connection.probe();
    if (this.#state === "waiting" && this.#waitsForNetwork && event.type === "online") {
      this.#clock.clearTimeout(this.#waitTimer);
      // Not at once: the same network may have brought others back.
      this.#waitTimer = this.#clock.setTimeout(() => this.#open(), this.#random() * this.#options.backoffFirstMs);
    }
  }

  #listenForWaking(on) {
    if (globalThis.document === undefined) return;
    const act = on ? "addEventListener" : "removeEventListener";
    globalThis[act]("online", this.#wake);
    globalThis.document[act]("visibilitychange", this.#wake);
  }
}

function heard(onFrame, direction, text) {
  try {
    onFrame?.(direction, text);
  } catch (error) {
    report(error);
  }
}

function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
