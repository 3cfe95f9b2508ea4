/** One WebSocket from its opening to its end: answers by id, deadlines, and the watch over its silence. */

import { encode, GatewayError } from "./wire.js";

/** A gateway that says nothing of its pings sends them this often. */
const PING_INTERVAL_DEFAULT_MS = 25_000;

/** What the close says when there was none: the network or the node was lost. */
const LOST = 1006;

/**
 * One connection. It calls `on.welcome(push)` once, `on.push(push)` for all else that nobody asked for, and
 * `on.end({code, reason, lastedMs})` once, whatever ended it, unless that was `close()`.
 */
export class Connection {
  /** The gateway's first message, once it is there. */
  welcome = null;
  #socket;
  #clock;
  #on;
  #waits;
  #nextId;
  #answers = new Map();
  #openedAt;
  #heardAt;
  #heardCount = 0;
  #timer = null;
  #isOver = false;

  /**
   * @param {object} parts
   * @param {WebSocket} parts.socket fresh.
   * @param {import("../client.d.ts").Clock} parts.clock
   * @param {() => number} parts.nextId
   * @param {{welcomeMs: number, pongMs: number}} parts.waits deadlines.
   * @param {object} parts.on `welcome`, `push`, `end`, and `frame(direction, text)`.
   */
  constructor({ socket, clock, nextId, waits, on }) {
    this.#socket = socket;
    this.#clock = clock;
    this.#nextId = nextId;
    this.#waits = waits;
    this.#on = on;
    this.#openedAt = this.#heardAt = clock.now();
    socket.onmessage = (event) => this.#take(event.data);
    socket.onclose = (event) => this.#end(event.code ?? LOST, event.reason ?? "");
    // A close follows, and says all that a page may know.
    socket.onerror = () => {};
    this.#timer = clock.setTimeout(() => this.#drop("no welcome in time"), waits.welcomeMs);
  }

  /** Whether commands may be sent. */
  get isOpen() {
    return this.welcome !== null && !this.#isOver;
  }

  /**
   * Sends a command that bears `id`. `answer` is called once: with the reply, or with null when the connection ends
   * before it.
   */
  ask(id, text, answer) {
    this.#answers.set(id, answer);
    this.#send(text);
  }

  /**
   * Sends a command and waits for its answer.
   *
   * @returns {Promise<object>} the reply; rejected with a {@link GatewayError}.
   */
  request(command, timeoutMs) {
    const id = this.#nextId();
    const text = encode({ ...command, id });
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimeout(() => {
        this.#answers.delete(id);
        reject(new GatewayError("timeout", `no answer to \`${command.type}\` in ${timeoutMs} ms`, { temporary: true }));
      }, timeoutMs);
      this.ask(id, text, (reply) => {
        this.#clock.clearTimeout(timer);
        if (reply === null) {
          reject(new GatewayError("connection_lost", "the connection broke before the answer", { temporary: true }));
        } else if (reply.type === "error") {
          reject(GatewayError.of(reply));
        } else {
          resolve(reply);
        }
      });
    });
  }

  /** Asks for a sign of life now, as when the machine wakes; without one the connection ends. */
  probe() {
    if (!this.isOpen) return;
    const heardCount = this.#heardCount;
    const id = this.#nextId();
    this.#answers.set(id, () => {});
    this.#send(encode({ type: "ping", id }));
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(() => {
      // Whatever was heard is a sign of life, and a pong may have to wait for it.
      if (this.#heardCount > heardCount) this.#watch();
      else this.#drop("the gateway has fallen silent");
    }, this.#waits.pongMs);
  }

  /** Ends it from this side, in order; nothing is called any more but the answers that still wait. */
  close() {
    this.#finish(1000);
  }

  #send(text) {
    this.#on.frame?.("out", text);
    this.#socket.send(text);
  }

  #take(data) {
    if (this.#isOver) return;
    this.#heardAt = this.#clock.now();
    this.#heardCount += 1;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      // It may have been a publication: come back and recover it.
      return this.#drop("a message was not JSON");
    }
    this.#on.frame?.("in", data);
    if (message === null || typeof message !== "object") return;
    if (message.type === "welcome" && this.welcome === null) return this.#begin(message);
    if (this.welcome === null) return;
    const answer = message.id === undefined ? undefined : this.#answers.get(message.id);
    if (answer !== undefined) {
      this.#answers.delete(message.id);
      answer(message);
    } else if (message.id === undefined) {
      this.#on.push(message);
    }
  }

  #begin(welcome) {
    this.welcome = welcome;
    this.#watch();
    this.#on.welcome(welcome);
  }

  /** Browsers answer the gateway's pings without telling the page: silence is noticed by asking. */
  #watch() {
    const quietMs = 2 * (this.welcome.ping_interval_ms || PING_INTERVAL_DEFAULT_MS);
    const silentMs = this.#clock.now() - this.#heardAt;
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(() => {
      if (this.#clock.now() - this.#heardAt >= quietMs) this.probe();
      else this.#watch();
    }, Math.max(0, quietMs - silentMs));
  }

  #drop(reason) {
    this.#end(LOST, reason, 4000);
  }

  #end(code, reason, closeCode) {
    if (this.#isOver) return;
    const lastedMs = this.welcome === null ? 0 : this.#clock.now() - this.#openedAt;
    this.#finish(closeCode);
    this.#on.end({ code, reason, lastedMs });
  }

  #finish(closeCode) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#clock.clearTimeout(this.#timer);
    this.#socket.onmessage = this.#socket.onclose = null;
    if (closeCode !== undefined) this.#socket.close(closeCode);
    const answers = [...this.#answers.values()];
    this.#answers.clear();
    for (const answer of answers) answer(null);
  }
}
