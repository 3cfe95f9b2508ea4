/** What has been said in one place, a channel or between two people, and who is about to say something. */

import { asText } from "../dom.js";

/** Entries kept of one conversation; the oldest go first. */
const ENTRIES_MAX = 500;

/** How long somebody counts as typing after the last word of it. */
const TYPING_MS = 4000;

/** How often others are told that one is typing. */
const TYPING_EVERY_MS = 2000;

/**
 * One line of a conversation: somebody's words, or (`kind` note) words about the conversation itself.
 *
 * @typedef {object} Entry
 * @property {"said" | "note"} kind
 * @property {string} text
 * @property {number} time Unix milliseconds.
 * @property {string} [tone] of a note: `gap` or `info`.
 * @property {object} [from] who said it.
 * @property {string} [name] what they are called.
 * @property {boolean} [isMine]
 * @property {string} [id] chosen by who said it.
 * @property {"sending" | "sent" | "failed"} [fate] of own words that have not come back yet.
 * @property {string} [why] they failed.
 */

/**
 * A conversation. `changed(this, what, entry)` is told what has changed: an entry was `added`, `replaced` or `removed`,
 * all of them are others (`reset`), or the `people`, the `names` of any, those `typing`, or that a `token` is wanted.
 */
export class Conversation {
  /** @type {Entry[]} */
  entries = [];
  unread = 0;
  isOpen = false;
  /** Own words come back like all others, and then stand at their place. */
  comesBack = false;
  #typing = new Map();
  #typedAt = -Infinity;

  constructor({ id, gateway, people, changed }) {
    this.id = id;
    this.gateway = gateway;
    this.people = people;
    this.changed = (what, entry) => changed(this, what, entry);
  }

  /** The names of those who are typing. */
  get typing() {
    return [...this.#typing.values()].map(({ name }) => name);
  }

  /** Words of somebody, as they came over the wire. */
  heard({ from = {}, data, event, encoding, time = Date.now() }) {
    this.learn(from, data);
    this.#stopTyping(from.client);
    const entry = this.entryOf({ from, data, event, encoding, time });
    const isOwn = (other) => this.comesBack && other.fate !== undefined && other.id === entry.id;
    const own = this.entries.find(isOwn);
    if (own !== undefined) this.#remove(own);
    if (!this.isOpen && !entry.isMine) this.unread += 1;
    this.#add({ ...entry, isMine: entry.isMine || own !== undefined });
  }

  /** The entry of a publication or private message. Whatever its form, it is shown: others may speak by hand. */
  entryOf({ from = {}, data, event, encoding, time }) {
    const isOurs = typeof data?.text === "string";
    let text = isOurs ? data.text : asText(data);
    if (encoding === "base64") text = `[binary, ${Math.floor((String(data).length * 3) / 4)} bytes]`;
    else if (!isOurs && event !== undefined) text = `[${event}] ${text}`;
    const id = typeof data?.id === "string" ? data.id : undefined;
    const name = this.people.label(from, data?.name);
    return { kind: "said", from, name, text, time, id, isMine: this.people.isMe(from) };
  }

  /** Earlier entries, put before all others. */
  addEarlier(entries) {
    this.entries = [...entries, ...this.entries].slice(-ENTRIES_MAX);
    this.changed("reset");
  }

  /** A word about the conversation itself. */
  note(text, tone = "info") {
    this.#add({ kind: "note", text, tone, time: Date.now() });
  }

  /** Says something. It is shown at once, and what becomes of it. */
  say(text) {
    const id = Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36)).join("");
    this.#typedAt = -Infinity;
    const own = { from: { client: this.gateway.client }, name: this.people.ownLabel, id, isMine: true };
    this.#attempt(this.#add({ kind: "said", ...own, text: wellFormed(text), time: Date.now() }));
  }

  /** Another attempt at words that failed. */
  retry(entry) {
    this.#attempt(entry);
  }

  /** This person is typing here. */
  type() {
    if (performance.now() - this.#typedAt < TYPING_EVERY_MS) return;
    this.#typedAt = performance.now();
    // Nobody misses it.
    this.tellTyping().catch(() => {});
  }

  /** Somebody is typing here. */
  heardTyping(from, data) {
    this.learn(from, data);
    if (from?.client === undefined || this.people.isMe(from)) return;
    clearTimeout(this.#typing.get(from.client)?.timer);
    const timer = setTimeout(() => this.#stopTyping(from.client), TYPING_MS);
    this.#typing.set(from.client, { name: this.people.label(from, data?.name), timer });
    this.changed("typing");
  }

  /** Takes note of the name that somebody goes by. */
  learn(from, data) {
    if (this.people.heard(from, data)) this.changed("names");
  }

  /** Whoever reads it has seen it. */
  open() {
    this.isOpen = true;
    this.unread = 0;
  }

  async #attempt(entry) {
    this.#settle(entry, "sending");
    try {
      await this.deliver({ id: entry.id, name: this.people.name, text: entry.text });
      this.#settle(entry, "sent");
    } catch (error) {
      this.#settle(entry, "failed", explain(error));
    }
  }

  /** Unless it has come back meanwhile. */
  #settle(entry, fate, why) {
    if (!this.entries.includes(entry)) return;
    Object.assign(entry, { fate, why });
    this.changed("replaced", entry);
  }

  #stopTyping(client) {
    clearTimeout(this.#typing.get(client)?.timer);
    if (this.#typing.delete(client)) this.changed("typing");
  }

  #add(entry) {
    this.entries.push(entry);
    this.changed("added", entry);
    if (this.entries.length > ENTRIES_MAX) this.#remove(this.entries[0]);
    return entry;
  }

  #remove(entry) {
    this.entries.splice(this.entries.indexOf(entry), 1);
    this.changed("removed", entry);
  }
}

/** Why words were not delivered, for the person who said them. */
function explain(error) {
  switch (error.code) {
    case "unknown_outcome":
    case "connection_lost":
      return "The connection broke: this may or may not have arrived.";
    case "unknown_client":
      return "Not delivered: they are not connected any more.";
    case "offline":
    case "timeout":
    case "closed":
      return "Not sent: there is no connection.";
    default:
      return `Not sent: ${error.message}`;
  }
}

/** Half a character, as is left where text was cut, cannot be sent. */
function wellFormed(text) {
  return text.replace(/\p{Surrogate}/gu, "\uFFFD");
}
