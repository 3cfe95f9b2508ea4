/** A scripted gateway, a clock that moves only when told, and the waiting for events between them. */

import { once } from "node:events";
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";
import { Gateway } from "../../../web/client.js";
import { Polls } from "./polls.js";

/** Time that stands still until `advance`. */
export class Clock {
  #now = 0;
  #timers = new Set();

  now() {
    return this.#now;
  }

  setTimeout(run, ms) {
    const timer = { run, due: this.#now + ms };
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(timer) {
    this.#timers.delete(timer);
  }

  /** Lets time pass, and runs what becomes due meanwhile in its order. */
  advance(ms) {
    const until = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.due <= until).sort((a, b) => a.due - b.due)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.due);
      due.run();
    }
    this.#now = until;
  }
}

/** What comes, for whoever asks next. */
class Mailbox {
  #items = [];
  #readers = [];

  put(item) {
    const reader = this.#readers.shift();
    if (reader) reader(item);
    else this.#items.push(item);
  }

  take() {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return new Promise((resolve) => this.#readers.push(resolve));
  }
}

/** One connection as the scripted gateway sees it, a WebSocket or a `PollSession`. */
class Peer {
  #socket;
  #commands = new Mailbox();

  constructor(socket, request) {
    this.#socket = socket;
    this.protocols = request.headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim());
    this.authorization = request.headers.authorization;
    this.closed = once(socket, "close").then(([code]) => code);
    socket.on("message", (data) => {
      const message = JSON.parse(data);
      for (const command of Array.isArray(message) ? message : [message]) this.#commands.put(command);
    });
  }

  /** The `PollSession`, if it is one. */
  get session() {
    return this.#socket;
  }

  send(message) {
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  welcome(more = {}) {
    const client = "n1.a.7";
    this.send({ type: "welcome", client, node: "n1.a", session: "s", ping_interval_ms: 25_000, version: 1, ...more });
  }

  /** The next command, which has to be of this type. */
  async expect(type) {
    const command = await this.#commands.take();
    if (command.type !== type) throw new Error(`expected \`${type}\`, got ${JSON.stringify(command)}`);
    return command;
  }

  /** The next command, answered. */
  async answer(type, reply) {
    const command = await this.expect(type);
    this.send({ id: command.id, channel: command.channel, ...reply });
    return command;
  }

  /** Answers the next `subscribe`. */
  subscribed(epoch, offset, more = {}) {
    return this.answer("subscribe", { type: "subscribed", epoch, offset, recovered: false, publications: [], ...more });
  }

  publication(channel, offset, data = offset) {
    this.send({ type: "publication", channel, offset, time: 1, data });
  }

  close(code, reason) {
    this.#socket.close(code, reason);
  }

  /** Breaks the connection without a word. */
  terminate() {
    this.#socket.terminate();
  }
}

/** Runs a test against a scripted gateway: `test({ server, gateway, clock, random })`. */
export function scripted(options, test) {
  if (test === undefined) return scripted({}, options);
  return async () => {
    let refusal = null;
    const http = createServer();
    const verifyClient = (_, answer) => answer(refusal === null, refusal, "", { "Retry-After": "1" });
    const handleProtocols = () => "gateway.v1.json";
    const sockets = new WebSocketServer({ server: http, handleProtocols, verifyClient });
    const polls = new Polls();
    http.on("request", (request, response) => polls.answer(request, response));
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    const [peers, pollPeers] = [new Mailbox(), new Mailbox()];
    sockets.on("connection", (socket, request) => peers.put(new Peer(socket, request)));
    polls.on("session", (session, request) => pollPeers.put(new Peer(session, request)));
    const server = {
      polls,
      next: () => peers.take(),
      nextPoll: () => pollPeers.take(),
      /** Handshakes are answered with this status from now on; null: let in. */
      refuse: (status) => (refusal = status),
      /** The next connection, welcomed. */
      welcomed: async (more) => {
        const peer = await peers.take();
        peer.welcome(more);
        return peer;
      },
    };
    const clock = new Clock();
    const random = { value: 0.5 };
    const url = `http://127.0.0.1:${http.address().port}/ws`;
    const gateway = new Gateway(url, { WebSocket, clock, random: () => random.value, ...options });
    try {
      await test({ server, gateway, clock, random });
    } finally {
      gateway.close();
      for (const socket of sockets.clients) socket.terminate();
      sockets.close();
      http.close();
      http.closeAllConnections();
    }
  };
}

/** What a client's state becomes next, if it is one of these. */
export function state(gateway, ...wanted) {
  return new Promise((resolve) => {
    const look = ({ detail }) => {
      if (!wanted.includes(detail.state)) return;
      gateway.removeEventListener("state", look);
      resolve(detail);
    };
    gateway.addEventListener("state", look);
  });
}

/** Connects, and gives the scripted side of it. */
export async function connected({ server, gateway }, more) {
  const peer = server.welcomed(more);
  await gateway.connect();
  return peer;
}

/** Breaks the connection, lets the backoff pass, and gives the next connection. */
export async function broken({ server, gateway, clock }, peer) {
  const waiting = state(gateway, "waiting");
  peer.terminate();
  clock.advance((await waiting).delayMs);
  const isConnected = state(gateway, "connected");
  const next = await server.welcomed();
  await isConnected;
  return next;
}

/** Publications as they are in a `subscribed`, with their offsets as data. */
export const items = (...offsets) => offsets.map((offset) => ({ offset, time: 1, data: offset }));

/** A subscription that keeps what it is told, in order; `until(n)` waits for as many entries and gives all. */
export function subscribe(gateway, channel, options = {}) {
  const heard = [];
  const readers = [];
  const hear = (entry) => {
    heard.push(entry);
    for (const reader of readers) reader();
  };
  const subscription = gateway.subscribe(channel, {
    onSubscribed: ({ recovered }) => hear({ subscribed: recovered }),
    onPublication: ({ data }) => hear(data),
    onGap: ({ channel: _, ...gap }) => hear({ gap }),
    onJoin: ({ member }) => hear({ join: member.user }),
    onLeave: ({ member, cause }) => hear({ leave: member.user, cause }),
    onEnd: ({ code }) => hear({ end: code }),
    ...options,
  });
  const until = (count) =>
    new Promise((resolve) => {
      const look = () => heard.length >= count && resolve(heard);
      readers.push(look);
      look();
    });
  return { subscription, heard, until };
}

/** How a promise ended, without anybody being left to reject. */
export const outcome = (promise) => promise.then((value) => value, (error) => error.code);
