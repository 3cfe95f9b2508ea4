/** The messages of the conversation that is open, as elements. */

import { byId, el } from "../dom.js";
import { hue } from "./people.js";

/** Words of one person within this time stand together. */
const TOGETHER_MS = 5 * 60_000;

/** This near to the end counts as being there, in pixels. */
const END_PX = 40;

const timeOnly = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const withDate = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Shows one conversation at a time. */
export class Log {
  #box = byId("log");
  #list = byId("entries");
  #newest = byId("newest");
  #elements = new Map();
  #conversation = null;

  constructor() {
    this.#newest.addEventListener("click", () => this.#toEnd());
    this.#box.addEventListener("scroll", () => {
      if (this.#isAtEnd()) this.#newest.hidden = true;
    });
    // The box shrinks when the writing grows or a keyboard comes up: who was at the end stays there.
    let wasAtEnd = true;
    this.#box.addEventListener("scroll", () => (wasAtEnd = this.#isAtEnd()));
    new ResizeObserver(() => wasAtEnd && this.#toEnd()).observe(this.#box);
  }

  /** Shows a conversation from its end. */
  show(conversation) {
    this.#conversation = conversation;
    this.#elements.clear();
    let before = null;
    const elements = conversation.entries.map((entry) => {
      const element = this.#element(entry, before);
      before = entry;
      return element;
    });
    this.#list.replaceChildren(...elements);
    this.#toEnd();
  }

  /** Follows a change of the conversation that is shown. */
  changed(what, entry) {
    if (what === "reset") return this.show(this.#conversation);
    if (what === "added") return this.#add(entry);
    const element = this.#elements.get(entry);
    if (what === "removed") {
      this.#elements.delete(entry);
      element?.remove();
    } else if (what === "replaced" && element !== undefined) {
      const before = this.#conversation.entries[this.#conversation.entries.indexOf(entry) - 1];
      element.replaceWith(this.#element(entry, before ?? null));
    }
  }

  #add(entry) {
    const { entries } = this.#conversation;
    const wasAtEnd = this.#isAtEnd();
    this.#list.append(this.#element(entry, entries[entries.indexOf(entry) - 1] ?? null));
    if (wasAtEnd || entry.fate === "sending") this.#toEnd();
    else this.#newest.hidden = false;
  }

  #element(entry, before) {
    const element = entry.kind === "note" ? note(entry) : this.#said(entry, follows(entry, before));
    this.#elements.set(entry, element);
    return element;
  }

  #said(entry, isFollowing) {
    const { from, name, text, isMine, fate } = entry;
    const id = from.user ?? from.client ?? "";
    const classes = ["said", isMine && "mine", isFollowing && "follows", fate].filter(Boolean).join(" ");
    const avatar = el("span", { class: `avatar ${isMine ? "mine" : hue(name)}`, "aria-hidden": true }, initial(name));
    const by = el("p", { class: isFollowing ? "by hidden" : "by" }, el("b", { title: id }, name), " ", time(entry));
    const body = el("div", { class: "body" }, by, el("p", { class: "text", dir: "auto" }, text));
    if (fate === "sending") body.append(el("p", { class: "fate" }, "not sent yet…"));
    if (fate === "failed") {
      const again = el("button", { type: "button", class: "quiet" }, "Try again");
      again.addEventListener("click", () => this.#conversation.retry(entry));
      body.append(el("p", { class: "fate" }, `${entry.why} `, again));
    }
    return el("li", { class: classes }, avatar, body);
  }

  #isAtEnd() {
    return this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight < END_PX;
  }

  #toEnd() {
    this.#newest.hidden = true;
    this.#box.scrollTop = this.#box.scrollHeight;
  }
}

/** What stands in the circle before a name. */
export function initial(name) {
  const [first = "·"] = name;
  return first.toUpperCase();
}

function note(entry) {
  return el("li", { class: `note ${entry.tone}` }, el("span", {}, entry.text));
}

function time({ time: at }) {
  const isToday = new Date(at).toDateString() === new Date().toDateString();
  return el("time", { datetime: new Date(at).toISOString() }, (isToday ? timeOnly : withDate).format(at));
}

function follows(entry, before) {
  if (before?.kind !== "said" || before.isMine !== entry.isMine || before.name !== entry.name) return false;
  const isSame = entry.isMine || before.from.client === entry.from.client;
  return isSame && entry.time - before.time < TOGETHER_MS;
}
