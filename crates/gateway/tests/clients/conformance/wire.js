// The wire as it is spoken: requests and WebSockets without a client library in between.
import WebSocket from "ws";

export const SERVER = process.env.SERVER;
export const PING_INTERVAL_MS = 300;
export const PING_TIMEOUT_MS = 200;

const PATIENCE_MS = 10_000;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/// One engine at a path: `/engine.io/` or `/socket.io/`.
export function engine(path) {
  const url = (query) => `${SERVER}${path}?${query}`;
  return {
    url,
    get: (query, options) => fetch(url(query), options),
    poll: (sid, more = "", options = {}) => fetch(url(`EIO=4&transport=polling&sid=${sid}${more}`), options),
    post: (sid, body) => fetch(url(`EIO=4&transport=polling&sid=${sid}`), { method: "POST", body }),
    async session() {
      const text = await (await fetch(url("EIO=4&transport=polling"))).text();
      return JSON.parse(text.slice(1)).sid;
    },
    stream: (query = "EIO=4&transport=websocket") => new Stream(url(query).replace("http", "ws")),
  };
}

/// A WebSocket whose messages are asked for one by one.
export class Stream {
  #messages = [];
  #waiting = [];

  constructor(url) {
    this.socket = new WebSocket(url);
    // Its close tells enough.
    this.socket.on("error", () => {});
    this.socket.on("message", (data, isBinary) => this.#put(isBinary ? data : data.toString()));
    this.closed = new Promise((resolve) => this.socket.on("close", () => resolve(true)));
    this.opened = new Promise((resolve) => this.socket.on("open", resolve));
    this.closed.then(() => this.#put(undefined));
  }

  #put(message) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(message);
    else this.#messages.push(message);
  }

  /// The next message; undefined once it is closed.
  async next() {
    if (this.#messages.length > 0) return this.#messages.shift();
    return within(new Promise((resolve) => this.#waiting.push(resolve)), "a message");
  }

  /// The next one that is no ping.
  async said() {
    for (;;) {
      const message = await this.next();
      if (message !== "2") return message;
    }
  }

  send(message) {
    this.socket.send(message);
  }

  ends() {
    return within(this.closed, "the end");
  }

  close() {
    this.socket.close();
  }
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
