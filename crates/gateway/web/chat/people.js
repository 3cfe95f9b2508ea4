/** Who is who: names that people have given themselves, short marks for connections, and one's own name. */

const NAME_KEY = "gateway-chat-name";
const TOKEN_KEY = "gateway-chat-token";

/** The longest name shown, in characters. */
export const NAME_MAX = 40;

/** How many people are kept in mind. */
const PEOPLE_MAX = 2000;

const HUES = 8;

/** What is known of people. A user is what presence lists: without a token that is the connection's id. */
export class People {
  /** Names by connection, as they were told. */
  #names = new Map();
  /** The connection that a user was last heard from. */
  #clients = new Map();
  #me = { client: null, user: null, label: null };
  #name = stored("localStorage", NAME_KEY) ?? "";

  /** One's own name; empty if none was given yet. */
  get name() {
    return this.#name;
  }

  set name(name) {
    this.#name = cleanName(name);
    store("localStorage", NAME_KEY, this.#name);
  }

  /** One's own token; kept as long as the tab. */
  get token() {
    return stored("sessionStorage", TOKEN_KEY) || undefined;
  }

  set token(token) {
    store("sessionStorage", TOKEN_KEY, token?.trim() ?? "");
  }

  /** This page has a connection with this id now. */
  connected(client) {
    this.#me = { client, user: null, label: null };
  }

  /** Takes note of who said something, and of the name in it, if there is one. True if that is news. */
  heard(from, data) {
    if (from?.client === undefined) return false;
    if (from.client === this.#me.client) this.#heardSelf(from);
    remember(this.#clients, from.user ?? from.client, from.client);
    const name = cleanName(data?.name);
    if (name === "" || this.#names.get(from.client) === name) return false;
    remember(this.#names, from.client, name);
    return true;
  }

  /** What others call this person: the name of the token, if it has one, else the name given here. */
  get ownLabel() {
    return this.#me.label ?? (this.#name || "A guest");
  }

  isMe({ client, user }) {
    if (client !== undefined) return client === this.#me.client;
    return user === this.#me.user || user === this.#me.client;
  }

  /** What to call somebody: a name from a token cannot be borrowed, so it comes first. */
  label({ client, user, info }, hint) {
    if (user !== undefined && user !== client) {
      const fromToken = cleanName(info?.name);
      if (fromToken !== "") return fromToken;
      // A member without a token is listed by the id of its connection.
      return this.#names.get(user) ?? (looksLikeClient(user) ? `guest ${mark(user)}` : user);
    }
    return this.#names.get(client) || cleanName(hint) || `guest ${mark(client ?? "")}`;
  }

  /** Where a private message to a user goes. */
  clientOf(user) {
    return this.#clients.get(user) ?? user;
  }

  #heardSelf(from) {
    this.#me.user = from.user ?? from.client;
    this.#me.label = from.user === undefined ? null : this.label(from);
  }
}

/** A name as it may be shown: one line, not too long. */
export function cleanName(name) {
  if (typeof name !== "string") return "";
  return [...name.replace(/[\s\p{Cc}\p{Cf}]+/gu, " ").trim()].slice(0, NAME_MAX).join("");
}

/** Four letters and digits that tell two ids apart. */
export function mark(id) {
  return (hash(id) % 36 ** 4).toString(36).padStart(4, "0");
}

/** One of eight colours, as a class: by the name, which stays the same when a connection is another one. */
export function hue(name) {
  return `hue-${hash(name) % HUES}`;
}

function looksLikeClient(user) {
  return user.split(".").length === 3;
}

/** Sets an entry; the ones that were not set for longest are forgotten. */
function remember(map, key, value) {
  map.delete(key);
  map.set(key, value);
  if (map.size > PEOPLE_MAX) map.delete(map.keys().next().value);
}

/** FNV-1a (32 bits). */
function hash(text) {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  }
  return value;
}

/** Browsers may forbid a page to keep anything: then it forgets. */
function stored(storage, key) {
  try {
    return globalThis[storage].getItem(key);
  } catch {
    return null;
  }
}

function store(storage, key, value) {
  try {
    globalThis[storage].setItem(key, value);
  } catch {
    // As above.
  }
}
