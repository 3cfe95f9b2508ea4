/** All subscriptions of a client: asked for on every new connection, and again where a refusal passes. */

import { Backoff } from "./advice.js";
import { Subscription } from "./subscription.js";
import { freshToken } from "./token.js";
import { checkChannel, encode, GatewayError } from "./wire.js";

/** Reasons for which a gateway ends a subscription only for now. */
const PASSING = new Set(["rate_limited", "unavailable", "unknown_outcome", "internal"]);

/** The subscriptions, by channel. */
export class Subscriptions {
  #known = new Map();
  #parts;

  /**
   * @param {object} parts `clock`, `random()`, `nextId()`, `tokenMs`: how long an application may look for a token, and `connection()`: the one in use, or null.
   */
  constructor(parts) {
    this.#parts = parts;
  }

  /** See `Gateway.subscribe`. */
  add(channel, options) {
    checkChannel(channel);
    if (this.#known.has(channel)) {
      throw new GatewayError("already_subscribed", `there is a subscription to ${channel}: unsubscribe it first`);
    }
    const subscription = new Subscription(channel, options, () => this.#leave(channel));
    const known = { subscription, backoff: new Backoff({ random: this.#parts.random }) };
    this.#known.set(channel, known);
    if (this.#parts.connection()?.isOpen) this.#ask(known);
    return subscription;
  }

  /** The connection has ended. */
  lost() {
    for (const { subscription } of this.#known.values()) subscription.lost();
  }

  /** A new connection has been welcomed. */
  resume() {
    for (const known of this.#known.values()) {
      // One that was made by a handler just now has asked already.
      if (known.subscription.state === "waiting") this.#ask(known);
    }
  }

  /** A push that names a channel. */
  push(push) {
    const known = this.#known.get(push.channel);
    if (push.type !== "unsubscribed") return known?.subscription.push(push);
    if (known?.subscription.state !== "subscribed") return;
    // A token of its own has ended: there may be a next.
    const hasEnded = push.code === "unauthenticated" && known.subscription.getToken !== undefined;
    if (PASSING.has(push.code) || hasEnded) this.#askLater(known);
    else this.#end(known, push.code, push.reason);
  }

  /** A publication of this client with `echo: false` is there. */
  spare(channel, position) {
    this.#known.get(channel)?.subscription.spare(position);
  }

  #ask(known) {
    const { subscription } = known;
    subscription.asked();
    if (subscription.getToken === undefined) return this.#say(known);
    const connection = this.#parts.connection();
    const isStill = () => connection === this.#parts.connection() && subscription.state === "subscribing";
    freshToken(subscription.getToken, this.#parts.clock, this.#parts.tokenMs).then(
      (token) => isStill() && this.#say(known, token),
      (error) => isStill() && this.#end(known, "unauthenticated", `no token: ${error?.message}`),
    );
  }

  #say(known, token) {
    const { subscription, backoff } = known;
    const id = this.#parts.nextId();
    this.#parts.connection().ask(id, encode({ ...subscription.command(token), id }), (reply) => {
      if (reply === null) return subscription.lost();
      if (subscription.state === "ended") return;
      if (reply.type !== "error") {
        backoff.lasted(Infinity);
        subscription.accept(reply);
      } else if (reply.temporary === true) {
        this.#askLater(known, reply.retry_after_ms);
      } else {
        this.#end(known, reply.code, reply.message);
      }
    });
  }

  #askLater(known, ms = known.backoff.next()) {
    const connection = this.#parts.connection();
    const { subscription } = known;
    subscription.lost();
    this.#parts.clock.setTimeout(() => {
      const isSame = connection !== null && connection === this.#parts.connection() && connection.isOpen;
      if (isSame && subscription.state === "waiting") this.#ask(known);
    }, ms);
  }

  #leave(channel) {
    this.#known.delete(channel);
    const connection = this.#parts.connection();
    if (!connection?.isOpen) return;
    const id = this.#parts.nextId();
    // That there was nothing to leave is as good.
    connection.ask(id, encode({ type: "unsubscribe", id, channel }), () => {});
  }

  #end({ subscription }, code, reason) {
    this.#known.delete(subscription.channel);
    subscription.ended(code, reason);
  }
}
