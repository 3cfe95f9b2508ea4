/** The two sides of the page: where one can be, and who else is there. */

import { byId, el } from "../dom.js";
import { initial } from "./log.js";
import { hue, mark } from "./people.js";

/** The address of a conversation within the page. */
export function hashOf(id) {
  return `#${encodeURIComponent(id).replaceAll("%3A", ":").replaceAll("%40", "@")}`;
}

/** What stands before the name of a conversation. */
export function sigil(id) {
  return id.startsWith("@") ? "@" : "#";
}

/** Lists the conversations. `leave(conversation)` is called by the button that ends one. */
export function showPlaces(conversations, current, leave) {
  const items = (list) => list.map((one) => place(one, one === current, leave));
  const privates = conversations.filter((one) => one.id.startsWith("@"));
  byId("channels").replaceChildren(...items(conversations.filter((one) => !one.id.startsWith("@"))));
  byId("privates").replaceChildren(...items(privates));
  byId("privates-section").hidden = privates.length === 0;
  const elsewhere = conversations.reduce((sum, one) => sum + (one === current ? 0 : one.unread), 0);
  byId("unread-elsewhere").hidden = elsewhere === 0;
  byId("unread-elsewhere").textContent = elsewhere;
  return elsewhere;
}

function place(conversation, isCurrent, leave) {
  const { id, title, unread } = conversation;
  const link = el("a", { href: hashOf(id), class: "clip", "aria-current": isCurrent && "page", title: id }, title);
  const end = el("button", { type: "button", class: "icon end", "aria-label": `Leave ${title}` }, "✕");
  end.addEventListener("click", () => leave(conversation));
  const count = unread > 0 ? [el("span", { class: "count", "aria-label": `${unread} unread` }, String(unread))] : [];
  return el("li", {}, el("span", { class: "sigil", "aria-hidden": true }, sigil(id)), link, ...count, end);
}

/** Lists who is in a channel. `talk(user)` is called by the button that begins a private conversation. */
export function showMembers({ members, users }, people, talk) {
  byId("people-count").textContent = users;
  byId("people-title").textContent = users === 1 ? "One is here" : `${users} are here`;
  byId("members-note").textContent = members === null ? "Too many to list." : "";
  const all = [...(members?.values() ?? [])].map((member) => ({ ...member, name: people.label(member) }));
  const isSelf = (member) => people.isMe({ user: member.user });
  all.sort((a, b) => isSelf(b) - isSelf(a) || a.name.localeCompare(b.name));
  const names = all.map(({ name }) => name);
  const isShared = (name) => names.indexOf(name) !== names.lastIndexOf(name);
  byId("members").replaceChildren(
    ...all.map((member) => (isSelf(member) ? self(people) : other(member, isShared(member.name), talk))),
  );
}

function self(people) {
  const name = people.ownLabel;
  return el("li", { class: "person" }, circle(name, "mine"), el("span", { class: "clip" }, name), tag("you"));
}

function other({ user, name, clients }, isShared, talk) {
  const button = el("button", { type: "button", class: "person", title: `Write to ${name} (${user})` });
  button.append(circle(name, hue(name)), el("span", { class: "clip" }, name));
  if (isShared) button.append(tag(mark(user)));
  if (clients > 1) button.append(tag(`${clients}×`));
  button.addEventListener("click", () => talk(user));
  return el("li", {}, button);
}

/** Shows who is in a private conversation. */
export function showPair(conversation, people) {
  byId("people-count").textContent = "";
  byId("people-title").textContent = "Between";
  byId("members-note").textContent = "";
  const { title } = conversation;
  const them = el("li", { class: "person" }, circle(title, hue(title)), el("span", { class: "clip" }, title));
  byId("members").replaceChildren(self(people), them);
}

/** Shows what this person is called. */
export function showSelf(people) {
  const name = people.ownLabel;
  byId("my-name").textContent = name;
  byId("my-avatar").textContent = initial(name);
}

function circle(name, colour) {
  return el("span", { class: `avatar ${colour}`, "aria-hidden": true }, initial(name));
}

function tag(text) {
  return el("span", { class: "tag" }, text);
}
