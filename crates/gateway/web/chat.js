/** The chat: conversations by the page's hash, one connection for all of them. */

import { Channel } from "./chat/channel.js";
import { Log } from "./chat/log.js";
import { People } from "./chat/people.js";
import { Private } from "./chat/private.js";
import { hashOf, showMembers, showPair, showPlaces, showSelf, sigil } from "./chat/sides.js";
import { followState } from "./chat/status.js";
import { Gateway } from "./client.js";
import { byId } from "./dom.js";

const LOBBY = "chat:lobby";
const CHANNELS_KEY = "gateway-chat-channels";

/** How often the list of who is here is put right. */
const REFRESH_MS = 30_000;

const people = new People();
const log = new Log();
const conversations = new Map();
let current = null;

const gateway = new Gateway(new URL("ws", document.baseURI).href, { getToken: () => people.token });

/** A conversation has changed: whatever shows it follows. */
function changed(conversation, what, entry) {
  if (what === "names") return showNames();
  if (what === "token") return settings(true);
  if (what === "people") return conversation === current && showRight();
  if (what === "typing") return conversation === current && showTyping();
  if (conversation === current) log.changed(what, entry);
  if (what === "added" && conversation !== current) showLeft();
}

function showLeft() {
  if (current === null) return;
  const unread = showPlaces([...conversations.values()], current, leave);
  document.title = `${unread > 0 ? `(${unread}) ` : ""}${current.title} · Chat`;
}

function showRight() {
  if (current instanceof Channel) showMembers(current, people, talkTo);
  else showPair(current, people);
}

function showNames() {
  if (current === null) return;
  byId("title").textContent = current.title;
  showSelf(people);
  showLeft();
  showRight();
}

function showTyping() {
  const names = current.typing;
  let text = "";
  if (names.length > 3) text = "Several people are typing…";
  else if (names.length > 1) text = `${names.slice(0, -1).join(", ")} and ${names.at(-1)} are typing…`;
  else if (names.length === 1) text = `${names[0]} is typing…`;
  byId("typing").textContent = text;
}

/** The channel of this name, joined if it was not; null if there can be none. */
function channel(id) {
  if (!conversations.has(id)) {
    try {
      conversations.set(id, new Channel({ id, gateway, people, changed }));
    } catch {
      return null;
    }
    keepChannels();
  }
  return conversations.get(id);
}

function privately(from) {
  const id = `@${from.client}`;
  if (!conversations.has(id)) conversations.set(id, new Private({ id, gateway, people, changed, from }));
  return conversations.get(id);
}

/** Opens what the page's hash names, or the lobby. */
function follow() {
  let id = LOBBY;
  try {
    id = decodeURIComponent(location.hash.slice(1)) || LOBBY;
  } catch {
    // Not an encoding: not a name.
  }
  const opened = id.startsWith("@") ? privately({ client: id.slice(1) }) : channel(id);
  if (opened === null) return go(LOBBY);
  if (current !== null) current.isOpen = false;
  current = opened;
  current.open();
  byId("title").textContent = current.title;
  byId("title").dataset.sigil = sigil(current.id);
  byId("words").placeholder = `Write to ${current.title}`;
  log.show(current);
  showLeft();
  showRight();
  showTyping();
  drawer(null);
  toWords();
}

/** Where a keyboard is at hand one can write at once; on a touch screen it would cover half the page. */
function toWords() {
  if (matchMedia("(hover: hover)").matches && !byId("settings").open) byId("words").focus({ preventScroll: true });
}

function go(id) {
  if (location.hash === hashOf(id)) follow();
  else location.hash = hashOf(id);
}

function leave(conversation) {
  conversation.leave();
  conversations.delete(conversation.id);
  keepChannels();
  if (conversation !== current) return showLeft();
  go([...conversations.keys()][0] ?? LOBBY);
}

function talkTo(user) {
  const client = people.clientOf(user);
  go(privately(client === user ? { client } : { client, user }).id);
}

function keepChannels() {
  const ids = [...conversations.keys()].filter((id) => !id.startsWith("@"));
  try {
    localStorage.setItem(CHANNELS_KEY, JSON.stringify(ids));
  } catch {
    // A browser may forbid it: then they are forgotten.
  }
}

function keptChannels() {
  try {
    const ids = JSON.parse(localStorage.getItem(CHANNELS_KEY));
    return Array.isArray(ids) ? ids.filter((id) => typeof id === "string").slice(0, 50) : [];
  } catch {
    return [];
  }
}

/** Shows one of the two sides over the page, where that is narrow; none hides both. */
function drawer(id) {
  for (const side of ["places", "people"]) {
    const isOpen = side === id && !byId(side).classList.contains("open");
    byId(side).classList.toggle("open", isOpen);
    for (const button of document.querySelectorAll(`[data-drawer="${side}"][aria-controls]`)) {
      button.setAttribute("aria-expanded", String(isOpen));
    }
  }
}

function settings(wantsToken = false) {
  byId("token-details").open = wantsToken || people.token !== undefined;
  if (byId("settings").open) return;
  byId("name").value = people.name;
  byId("token").value = people.token ?? "";
  byId("settings").showModal();
}

function settled() {
  const token = people.token;
  people.name = byId("name").value;
  people.token = byId("token").value;
  showSelf(people);
  const channels = [...conversations.values()].filter((one) => one instanceof Channel);
  if (token !== people.token) {
    gateway.close();
    // Those that were refused are tried again as somebody else.
    channels.forEach((one) => one.enter());
    gateway.connect();
  } else {
    channels.forEach((one) => one.introduce(false));
  }
  showRight();
  toWords();
}

function listen() {
  gateway.addEventListener("state", ({ detail }) => {
    if (detail.state === "connected") people.connected(detail.client);
    if (detail.state === "closed" && detail.code === 4001) settings(true);
  });
  gateway.addEventListener("message", ({ detail }) => {
    if (people.heard(detail.from, detail.data)) showNames();
    if (detail.event === "name") return;
    if (detail.event === "typing" && !conversations.has(`@${detail.from.client}`)) return;
    privately(detail.from).receive(detail);
    showLeft();
  });
  addEventListener("hashchange", follow);
  addEventListener("keydown", (event) => event.key === "Escape" && drawer(null));
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-drawer]");
    if (button) drawer(button.dataset.drawer);
  });
  byId("settings-open").addEventListener("click", () => settings());
  byId("settings").addEventListener("close", settled);
  byId("join").addEventListener("submit", join);
  listenToComposer();
  setInterval(() => document.visibilityState === "visible" && current.refresh(), REFRESH_MS);
}

function join(event) {
  event.preventDefault();
  const input = byId("join-name");
  const name = input.value.trim().replace(/^#/, "").replace(/\s+/g, "-");
  if (name === "") return;
  const id = name.includes(":") ? name : `chat:${name}`;
  const isPossible = channel(id) !== null;
  input.setCustomValidity(isPossible ? "" : "A channel's name has no commas, braces or * in it");
  if (!isPossible) return input.reportValidity();
  input.value = "";
  go(id);
}

function listenToComposer() {
  const words = byId("words");
  const fit = () => {
    words.style.height = "auto";
    words.style.height = `${words.scrollHeight}px`;
  };
  const send = (event) => {
    event.preventDefault();
    const text = words.value.trim();
    if (text === "") return;
    words.value = "";
    fit();
    current.say(text);
  };
  byId("composer").addEventListener("submit", send);
  byId("join-name").addEventListener("input", () => byId("join-name").setCustomValidity(""));
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  });
  words.addEventListener("input", () => {
    fit();
    if (words.value.trim() !== "") current.type();
  });
}

listen();
followState(gateway);
showSelf(people);
keptChannels().forEach((id) => channel(id));
follow();
gateway.connect();
if (people.name === "") settings();
