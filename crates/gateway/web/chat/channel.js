/** A channel: its past, its publications, and who is in it. */

import { Conversation } from "./conversation.js";

/** How much of a channel's past is shown on entry. */
const PAST_MAX = 50;

/** In larger channels people learn the others' names when they speak. */
const INTRODUCED_MAX = 30;

/** Answers to a newcomer are spread over this time. */
const INTRODUCTION_MS = 500;

/** One channel. */
export class Channel extends Conversation {
  /** The members by user; null where the gateway gives counts only. */
  members = new Map();
  /** How many users are there. */
  users = 0;
  comesBack = true;
  #subscription = null;
  #start = null;
  #hasPast = false;

  constructor(parts) {
    super(parts);
    this.enter();
  }

  get title() {
    return this.id.replace(/^chat:/, "");
  }

  /** Subscribes, if it is not subscribed. */
  enter() {
    if (this.#subscription !== null && this.#subscription.state !== "ended") return;
    this.#subscription = this.gateway.subscribe(this.id, {
      members: true,
      onSubscribed: (info) => this.#subscribed(info),
      onPublication: (publication) => this.#heardPublication(publication),
      onGap: (gap) => this.note(`${describe(gap)} The gateway does not have them any more.`, "gap"),
      onJoin: ({ member }) => this.#count(member, 1),
      onLeave: ({ member }) => this.#count(member, -1),
      onEnd: ({ code, reason }) => this.#refused(code, reason),
    });
  }

  leave() {
    this.#subscription.unsubscribe();
  }

  open() {
    super.open();
    this.refresh();
  }

  /** Asks who is there, to correct whatever may have slipped by. */
  async refresh() {
    try {
      this.#setMembers(await this.gateway.presence(this.id));
    } catch {
      // Then what is shown stays.
    }
  }

  /** Tells one's name, and with `ask` wants to hear the others'. */
  introduce(ask) {
    const data = { name: this.people.name, ask };
    this.gateway.publish(this.id, data, { event: "name", volatile: true }).catch(() => {});
  }

  deliver(data) {
    // A repeat is harmless with a key, which only channels with history take.
    const key = this.#subscription.position === null ? undefined : data.id;
    return this.gateway.publish(this.id, data, { event: "message", key });
  }

  tellTyping() {
    return this.gateway.publish(this.id, { name: this.people.name }, { event: "typing", volatile: true, echo: false });
  }

  #heardPublication(publication) {
    const { event, from, data, offset } = publication;
    if (event === "typing") return this.heardTyping(from, data);
    if (event === "name" && offset === undefined) return this.#introduced(from, data);
    this.heard(publication);
  }

  #introduced(from, data) {
    this.learn(from, data);
    const isMany = this.members === null || this.members.size > INTRODUCED_MAX;
    if (data?.ask !== true || from === undefined || this.people.isMe(from) || isMany) return;
    setTimeout(() => {
      this.gateway.send(from.client, { name: this.people.name }, { event: "name" }).catch(() => {});
    }, Math.random() * INTRODUCTION_MS);
  }

  #subscribed(info) {
    this.#start ??= { epoch: info.epoch, offset: info.offset };
    this.#setMembers(info);
    this.introduce(true);
    if (!this.#hasPast) this.#readPast();
  }

  #refused(code, reason) {
    if (code !== "unauthenticated") return this.note(`This channel is closed to you: ${reason} (${code}).`, "gap");
    this.note("This channel asks who you are: it wants a token.", "gap");
    this.changed("token");
  }

  /** What was said before this page came. What came since is delivered by the subscription. */
  async #readPast() {
    const { epoch, offset } = this.#start;
    if (epoch === undefined) {
      this.#hasPast = true;
      return this.note("This channel keeps no history: you see what is said while you are here.");
    }
    try {
      const past = await this.gateway.history(this.id, { limit: PAST_MAX, reverse: true });
      if (this.#hasPast) return;
      this.#hasPast = true;
      const before = past.epoch === epoch ? past.publications.filter((one) => one.offset <= offset).reverse() : [];
      before.forEach(({ from, data }) => this.people.heard(from, data));
      this.addEarlier(before.map((publication) => this.entryOf(publication)));
      this.changed("names");
    } catch (error) {
      // Without a connection it is asked again with the next.
      if (!error.temporary) this.note(`What was said before cannot be shown: ${error.message}`);
    }
  }

  #setMembers({ members, users }) {
    if (users === undefined) return;
    this.members = members === undefined ? null : new Map(members.map((member) => [member.user, member]));
    this.users = users;
    this.changed("people");
  }

  #count(member, by) {
    if (this.members === null) this.users = Math.max(0, this.users + by);
    else {
      if (by > 0) this.members.set(member.user, member);
      else this.members.delete(member.user);
      this.users = this.members.size;
    }
    this.changed("people");
  }
}

function describe({ from, to }) {
  if (from === undefined) return "Some messages are missing here.";
  const count = to - from + 1;
  return count === 1 ? "One message is missing here." : `${count} messages are missing here.`;
}
