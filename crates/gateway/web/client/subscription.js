/** One channel as its subscriber sees it: every publication once and in order, or word that some are lost. */

import { Retained } from "./retained.js";
import { report } from "./wire.js";

/** Own publications told apart by offset; older ones are forgotten first. */
const SPARED_MAX = 1000;

/** A subscription, from `Gateway.subscribe` until `unsubscribe` or until the gateway ends it. */
export class Subscription {
  /** The channel's name. */
  channel;
  /** Asks the application for a token of this subscription's own; undefined if there is none. */
  getToken;
  #state = "waiting";
  #position;
  #handlers;
  #members;
  #leave;
  /** Only if somebody wants to know. */
  #retained = null;
  /** Offsets of own publications with `echo: false`: a recovery would bring them. */
  #spared = new Set();

  /** Made by `Gateway.subscribe`. */
  constructor(channel, { members = false, recover = null, getToken, ...handlers }, leave) {
    this.channel = channel;
    this.getToken = getToken && (() => getToken(channel));
    this.#members = members;
    this.#position = recover && { epoch: recover.epoch, offset: recover.offset };
    this.#handlers = handlers;
    this.#leave = leave;
    if (handlers.onState !== undefined) this.#retained = new Retained();
  }

  /**
   * `waiting` (for a connection or for the next attempt), `subscribing`, `subscribed`, or `ended`.
   *
   * @type {"waiting" | "subscribing" | "subscribed" | "ended"}
   */
  get state() {
    return this.#state;
  }

  /**
   * Where the reader stands: `{epoch, offset}` of the last publication seen, or null before the first answer and in
   * channels without history. Kept somewhere it can be given to a later `subscribe` as `recover`.
   */
  get position() {
    return this.#position && { ...this.#position };
  }

  /** Ends the subscription. Nothing is called any more. */
  unsubscribe() {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#leave(this);
  }

  /** The command that asks for it. */
  command(token) {
    const command = { type: "subscribe", channel: this.channel, token };
    if (this.#position) command.recover = this.#position;
    if (this.#members) command.members = true;
    if (this.#retained === null) command.state = false;
    return command;
  }

  /** The command is on its way. */
  asked() {
    this.#state = "subscribing";
  }

  /** The connection or the attempt has failed: the position stays. */
  lost() {
    if (this.#state !== "ended") this.#state = "waiting";
  }

  /** The gateway's `subscribed`: what was missed, and from where it goes on. */
  accept(reply) {
    const { epoch, offset, recovered, state, members, clients, users } = reply;
    const before = this.#position && { ...this.#position };
    // A history that has lost its newest part counts the same offsets again: nothing of it is known.
    const goesOn = before !== null && before.epoch === epoch && before.offset <= offset;
    const all = reply.publications ?? [];
    const missed = goesOn ? all.filter((publication) => !(publication.offset <= before.offset)) : all;
    this.#state = "subscribed";
    if (!goesOn) {
      this.#spared.clear();
      const first = missed[0]?.offset;
      this.#position = typeof epoch === "string" ? { epoch, offset: first === undefined ? offset : first - 1 } : null;
    }
    this.#call("onSubscribed", { channel: this.channel, epoch, offset, recovered, members, clients, users });
    this.#retained?.begin(state, this.channel);
    this.#tellState();
    if (before !== null && !recovered) {
      const lost = goesOn ? hole(before.offset, missed, offset) : {};
      this.#call("onGap", { channel: this.channel, ...lost, epoch, cause: "not_recovered" });
    }
    for (const publication of missed) this.#deliver(publication);
    if (this.#position !== null) this.#goTo(offset);
  }

  /** A push of the gateway for this channel. */
  push(push) {
    // Until the answer is there pushes belong to an earlier subscription: what they bring is recovered.
    if (this.#state !== "subscribed") return;
    if (push.type === "publication") this.#deliver(push);
    else if (push.type === "gap") this.#gap(push);
    else if (push.type === "join") this.#call("onJoin", { channel: this.channel, member: push.member });
    else if (push.type === "leave") {
      this.#call("onLeave", { channel: this.channel, member: push.member, cause: push.cause });
    }
  }

  /** The gateway has ended or refused it for good. */
  ended(code, reason) {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#call("onEnd", { channel: this.channel, code, reason });
  }

  /** A publication of this client with `echo: false` has this position: it will not come, unless by a recovery. */
  spare({ epoch, offset }) {
    const position = this.#position;
    if (position === null || position.epoch !== epoch || offset <= position.offset) return;
    this.#spared.add(offset);
    if (this.#spared.size > SPARED_MAX) this.#spared.delete(this.#spared.values().next().value);
    if (this.#spared.has(position.offset + 1)) this.#goTo(position.offset);
  }

  #deliver({ type, ...rest }) {
    const publication = { ...rest, channel: this.channel };
    const { offset } = publication;
    if (typeof offset === "number" && this.#position !== null) {
      if (offset <= this.#position.offset) return;
      const isSpared = this.#spared.has(offset);
      this.#goTo(offset);
      if (isSpared) return;
    }
    this.#call("onPublication", publication);
    if (this.#retained?.put(publication)) this.#tellState(publication);
  }

  #tellState(change) {
    if (this.#retained !== null) this.#call("onState", this.#retained.entries, change);
  }

  /** Everything up to this offset is done with, and so are own publications that would come next. */
  #goTo(offset) {
    const position = this.#position;
    position.offset = offset;
    for (const spared of this.#spared) if (spared <= offset) this.#spared.delete(spared);
    while (this.#spared.delete(position.offset + 1)) position.offset += 1;
  }

  #gap({ from, to, epoch }) {
    if (typeof epoch === "string" && epoch !== this.#position?.epoch) {
      this.#spared.clear();
      this.#retained?.forgetOffsets();
      // Where it names no offset: from the beginning of the new epoch, of which nothing has been seen.
      this.#position = { epoch, offset: to ?? 0 };
    } else if (this.#position !== null && to !== undefined) {
      this.#goTo(to);
    }
    this.#call("onGap", { channel: this.channel, from, to, epoch, cause: "gap" });
  }

  #call(name, ...told) {
    // A handler may have ended it in between.
    if (this.#state === "ended" && name !== "onEnd") return;
    try {
      this.#handlers[name]?.(...told);
    } catch (error) {
      report(error);
    }
  }
}

/** The first and the last offset that are missing between a position and the channel's newest offset, if any is. */
function hole(after, publications, newest) {
  let expected = after + 1;
  let from;
  let to;
  const missing = (first, last) => {
    from ??= first;
    to = last;
  };
  for (const { offset } of publications) {
    if (offset > expected) missing(expected, offset - 1);
    expected = offset + 1;
  }
  if (newest >= expected) missing(expected, newest);
  return from === undefined ? {} : { from, to };
}
