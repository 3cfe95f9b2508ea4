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

import { createLink } from "./client/link.js";
import { createOutbox } from "./client/outbox.js";
import { createSubscription } from "./client/subscription.js";
import { timeOf } from "./client/time.js";
import { checkChannel, checkNames, GatewayError, socketUrl } from "./client/wire.js";

export { GatewayError };

/**
 * A connection to the gateway. Events, each a `CustomEvent` with a `detail`:
 *
 * - `state`: `{state, ...}`; connected: `{transport, client, node}`, again when a WebSocket takes over from polling;
 *   waiting: `{delayMs, code, reason}`; closed: `{code, reason}`;
 * - `message`: a private message, `{from, data, event?, encoding?}`;
 * - `expiring`: `{in_ms}`, the token ends soon; with `getToken` the client has already asked for a new one;
 * - `error`: a refusal that belongs to no promise, as a {@link GatewayError}.
 */
export class Gateway extends EventTarget {
  #link;
  #outbox;
  #subscriptions = new Map();

  /**
   * @param {string} url of the gateway's `/ws`, absolute or relative to the page.
   * @param {import("./client.d.ts").GatewayOptions} [options]
   */
  constructor(url, options = {}) {
    super();
    let lastId = 0;
    const nextId = () => (lastId += 1);
    const context = { random: Math.random, commandTimeoutMs: 10_000, ...options, ...timeOf(options.clock), nextId };
    const all = (act) => {
      for (const subscription of this.#subscriptions.values()) subscription[act]();
    };
    this.#link = createLink(socketUrl(url), context, {
      tell: (type, detail) => this.dispatchEvent(new CustomEvent(type, { detail })),
      push: (type, push) => this.#subscriptions.get(push.channel)?.push(type, push),
      up: () => {
        all("resume");
        this.#outbox.resume();
      },
      lost: () => all("lost"),
      shut: (error) => this.#outbox.failAll(error),
    });
    this.#outbox = createOutbox(this.#link);
  }

  /** `closed` (at first too), `connecting`, `connected`, or `waiting` for the next attempt. */
  get state() {
    return this.#link.state();
  }

  /** `websocket` or `poll`; null while there is no connection. */
  get transport() {
    return this.#link.transport();
  }

  /** The id of the connection, to which others may `send`; null while there is none. */
  get client() {
    return this.#welcome.client ?? null;
  }

  /** The id of the node at the other end; null while there is no connection. */
  get node() {
    return this.#welcome.node ?? null;
  }

  /** The most bytes that a message may have, with all that is around its data; null while there is no connection. */
  get maxMessageBytes() {
    return this.#welcome.max_message_bytes ?? null;
  }

  /** What has not been answered of what was published: `{messages, bytes}`. */
  get queued() {
    return this.#outbox.size();
  }

  /**
   * Connects, and from then on stays connected until `close` or until the gateway says to stay away. While waiting for
   * the next attempt: makes it now.
   *
   * @returns {Promise<void>} once connected; rejected with `closed` if it came to that first.
   */
  connect() {
    return this.#link.connect();
  }

  /** Closes for good. Subscriptions keep their positions: `connect` goes on where they were. */
  close() {
    this.#link.close();
  }

  /**
   * Shows a new token: now, if connected, and whenever connecting from now on (without `getToken`).
   *
   * @param {string} token
   * @returns {Promise<{user: string, expires_in?: number} | undefined>}
   */
  auth(token) {
    return this.#link.auth(token);
  }

  /**
   * Subscribes to a channel, now and again after every reconnect. A channel has one subscription at a time.
   *
   * @param {string} channel
   * @param {import("./client.d.ts").SubscribeOptions} [options] what to call, and with what to begin.
   * @returns {import("./client.d.ts").Subscription}
   * @throws {TypeError} if that is not a channel's name. @throws {GatewayError} `already_subscribed`.
   */
  subscribe(channel, options = {}) {
    checkChannel(channel);
    if (this.#subscriptions.has(channel)) throw new GatewayError("already_subscribed", "unsubscribe first");
    const subscription = createSubscription(channel, options, this.#link, () => this.#subscriptions.delete(channel));
    this.#subscriptions.set(channel, subscription);
    subscription.resume();
    return subscription.seen;
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
  async publish(channel, data, options = {}) {
    const { timeoutMs, ...more } = options;
    const command = { ...more, type: "publish", channel, data };
    const { event, retain, echo, volatile } = command;
    if (this.#link.keys && !volatile) command.key ??= randomKey();
    checkChannel(channel);
    checkNames({ event, key: command.key, retain });
    if (this.state === "closed") throw new GatewayError("closed", "call connect()");
    return this.#outbox.add(command, timeoutMs, (position) => {
      if (echo === false) this.#subscriptions.get(channel)?.spare(position);
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
    checkNames({ to: to ?? "", event });
    await this.#link.request({ type: "send", to, data, event });
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
    return this.#link.request({ type: "presence", channel, count_only: countOnly });
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
    const past = await this.#link.request({ type: "history", channel, limit, since, reverse });
    for (const publication of past.publications) publication.channel = channel;
    return past;
  }

  /** The round trip to the gateway, in ms. */
  async ping() {
    const { now } = this.#link;
    const sentAt = now();
    await this.#link.request({ type: "ping" });
    return now() - sentAt;
  }

  get #welcome() {
    return this.#link.open()?.welcome ?? {};
  }
}

const randomKey = () => crypto.getRandomValues(new Uint32Array(3)).join("-");
