/**
 * Who else has a board open: how many they are and where their pointers are. This goes over `/ws` and a channel beside the
 * board's, volatile: on the board's own channel it would push the drawing out of the history.
 */

import { el } from "../dom.js";
import { hue } from "../chat/people.js";
import { BOARD } from "./piece.js";

/** Pointers are told at most so often, and only while they move. The more people, the less often. */
const POINTER_MS = 50;
const POINTER_MS_PER_USER = 5;
const POINTER_MS_MAX = 1000;

/** A pointer that has not moved for so long is shown as resting, and is taken away. */
const RESTING_MS = 5000;
const FORGOTTEN_MS = 120_000;

/** Pointers shown at a time. */
const POINTERS_MAX = 100;

/** The others, on a board. */
export class Company {
  /** How many users are here, oneself included; null while nobody can tell. */
  users = null;
  #gateway;
  #channel;
  #people;
  #sheet;
  #on;
  #pointers = new Map();
  #members = null;
  #subscription = null;
  #place = null;
  #toldAt = 0;
  #timer = null;

  /**
   * @param {object} parts
   * @param {import("../client.js").Gateway} parts.gateway
   * @param {string} parts.channel beside that of the board.
   * @param {import("../chat/people.js").People} parts.people
   * @param {HTMLElement} parts.sheet where pointers are shown.
   * @param {object} parts.on `users()`: they are other ones or more; `here()`: others can be asked now; `heard(publication)`:
   *   what is no pointer; `refused(reason)`.
   */
  constructor({ gateway, channel, people, sheet, on }) {
    this.#gateway = gateway;
    this.#channel = channel;
    this.#people = people;
    this.#sheet = sheet;
    this.#on = on;
    gateway.addEventListener("state", ({ detail }) => detail.state === "connected" || this.#alone());
    setInterval(() => this.#rest(), 1000);
  }

  /** Comes to the channel, if it is not there or was refused. */
  enter() {
    if (this.#subscription !== null && this.#subscription.state !== "ended") return;
    this.#subscription = this.#gateway.subscribe(this.#channel, {
      members: true,
      onSubscribed: (info) => this.#entered(info),
      onPublication: (publication) => this.#heard(publication),
      onJoin: ({ member }) => this.#count(member, 1),
      onLeave: ({ member }) => this.#count(member, -1),
      onEnd: ({ code, reason }) => {
        this.#alone();
        this.#on.refused(code, reason);
      },
    });
  }

  /** Whether the others hear what is said. */
  get isHere() {
    return this.#gateway.state === "connected" && this.#subscription?.state === "subscribed";
  }

  /** Says something to all others. It is lost where nobody can hear it. */
  say(event, data) {
    if (!this.isHere) return;
    this.#gateway.publish(this.#channel, data, { event, volatile: true, echo: false }).catch(() => {});
  }

  /** One's own pointer is here now; null: nowhere. */
  moved(place) {
    this.#place = place;
    if (this.#timer !== null) return;
    const crowded = Math.min(POINTER_MS_MAX, POINTER_MS_PER_USER * (this.users ?? 0));
    const restMs = this.#toldAt + Math.max(POINTER_MS, crowded) - performance.now();
    this.#timer = setTimeout(() => this.#tellPlace(), Math.max(0, restMs));
  }

  #tellPlace() {
    this.#timer = null;
    this.#toldAt = performance.now();
    if (this.users === 1) return;
    this.say("pointer", this.#place === null ? {} : { ...this.#place, name: this.#people.name });
  }

  #entered({ members, users }) {
    this.#members = members === undefined ? null : new Set(members.map(({ user }) => user));
    this.users = users ?? null;
    this.#on.users();
    this.#on.here();
  }

  #count({ user }, by) {
    if (this.#members === null) this.users = Math.max(1, (this.users ?? 1) + by);
    else {
      if (by > 0) this.#members.add(user);
      else this.#members.delete(user);
      this.users = this.#members.size;
    }
    if (by < 0) {
      for (const [client, pointer] of this.#pointers) if (client === user || pointer.user === user) this.#remove(client);
    }
    this.#on.users();
  }

  #alone() {
    this.users = this.#members = null;
    for (const client of this.#pointers.keys()) this.#remove(client);
    this.#on.users();
  }

  #heard(publication) {
    if (publication.from === undefined) return;
    if (publication.event !== "pointer") return this.#on.heard(publication);
    const { from, data } = publication;
    this.#people.heard(from, data);
    const isPlace = [data?.x, data?.y].every((one) => typeof one === "number" && Number.isFinite(one));
    if (isPlace) this.#show(from, data);
    else this.#remove(from.client);
  }

  #show(from, { x, y }) {
    let pointer = this.#pointers.get(from.client);
    if (pointer === undefined) {
      if (this.#pointers.size >= POINTERS_MAX) return;
      const label = el("span", { class: "clip" });
      pointer = { user: from.user, label, element: el("div", { class: "pointer" }, el("i", {}), label) };
      this.#pointers.set(from.client, pointer);
      this.#sheet.append(pointer.element);
    }
    const name = this.#people.label(from);
    pointer.label.textContent = name;
    pointer.element.className = `pointer ${hue(name)}`;
    pointer.element.style.left = `${(100 * Math.min(BOARD.width, Math.max(0, x))) / BOARD.width}%`;
    pointer.element.style.top = `${(100 * Math.min(BOARD.height, Math.max(0, y))) / BOARD.height}%`;
    pointer.movedAt = performance.now();
  }

  #rest() {
    for (const [client, { element, movedAt }] of this.#pointers) {
      const ms = performance.now() - movedAt;
      element.classList.toggle("resting", ms > RESTING_MS);
      if (ms > FORGOTTEN_MS) this.#remove(client);
    }
  }

  #remove(client) {
    this.#pointers.get(client)?.element.remove();
    this.#pointers.delete(client);
  }
}
