/**
 * A connection to the raw relay that comes back by itself. The relay has no words: whether to come back is in the code that
 * it closes with, and what was drawn before comes first after each opening (`since=0`), one's own messages included.
 */

import { adviceFor, createBackoff } from "../client/advice.js";

/** How long connecting may take. */
const OPEN_MS = 10_000;

/** Bytes that may wait in the browser; then nothing more is given to it. */
const BUFFER_MAX = 256 * 1024;

const FORBIDDEN = 4003;
const LOST = 1006;

const systemClock = {
  now: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** The states are those of the `Gateway`: `connecting`, `connected`, `waiting` and `closed`. */
export class Relay extends EventTarget {
  #address;
  #getToken;
  #means;
  #backoff;
  #socket = null;
  #timer = null;
  #openedAt = null;
  #heardAt = 0;
  #asksPast = true;
  #state = "closed";

  /**
   * @param {string} address of `/raw/{channel}`.
   * @param {() => string | undefined} getToken
   * @param {{clock?: import("../client.d.ts").Clock, random?: () => number, WebSocket?: typeof WebSocket}} [means] for tests.
   */
  constructor(address, getToken, { clock = systemClock, random = Math.random, WebSocket = globalThis.WebSocket } = {}) {
    super();
    this.#address = address;
    this.#getToken = getToken;
    this.#means = { clock, WebSocket };
    this.#backoff = createBackoff(random);
    globalThis.addEventListener?.("online", () => this.#state === "waiting" && this.connect());
  }

  get state() {
    return this.#state;
  }

  /** Whether something may be sent now. */
  get isReady() {
    return this.#state === "connected" && this.#socket.bufferedAmount < BUFFER_MAX;
  }

  /** For how long nothing has been heard, in ms. */
  get silentMs() {
    return this.#means.clock.now() - this.#heardAt;
  }

  /** Connects; while waiting, at once. */
  connect() {
    if (this.#socket !== null) return;
    this.#means.clock.clearTimeout(this.#timer);
    this.#tell("connecting");
    const token = this.#getToken();
    const protocols = token === undefined ? ["gateway.v1.raw"] : ["gateway.v1.raw", `gateway.bearer.${token}`];
    try {
      this.#listen(new this.#means.WebSocket(`${this.#address}?echo=1${this.#asksPast ? "&since=0" : ""}`, protocols));
    } catch {
      // A token of characters that no token has cannot even be offered.
      this.#tell("closed", { code: 4001, reason: "this is not a token" });
    }
  }

  close() {
    this.#means.clock.clearTimeout(this.#timer);
    this.#let(1000);
    this.#tell("closed", { code: 1000, reason: "closed" });
  }

  /** Gives up a connection that seems dead, and makes another. */
  renew(reason) {
    if (this.#socket === null) return;
    this.#let(4000);
    this.#wait(LOST, reason);
  }

  /** @param {string} text a message for everybody; only while `isReady`. */
  send(text) {
    this.#socket.send(text);
  }

  #listen(socket) {
    this.#socket = socket;
    this.#openedAt = null;
    this.#timer = this.#means.clock.setTimeout(() => this.renew("no answer in time"), OPEN_MS);
    socket.onopen = () => {
      this.#means.clock.clearTimeout(this.#timer);
      this.#openedAt = this.#heardAt = this.#means.clock.now();
      this.#tell("connected", { node: new URL(this.#address).host });
    };
    socket.onmessage = ({ data }) => {
      this.#heardAt = this.#means.clock.now();
      if (typeof data === "string") this.dispatchEvent(new CustomEvent("message", { detail: data }));
    };
    socket.onclose = ({ code, reason }) => this.#ended(code, reason);
  }

  #ended(code, reason) {
    this.#let();
    if (code === FORBIDDEN && this.#asksPast) {
      // The history may be what is forbidden, and the rest open.
      this.#asksPast = false;
      return this.connect();
    }
    if (adviceFor(code) === "never") return this.#tell("closed", { code, reason });
    this.#wait(code, reason);
  }

  #wait(code, reason) {
    if (this.#openedAt !== null) this.#backoff.lasted(this.#means.clock.now() - this.#openedAt);
    const delayMs = adviceFor(code) === "told" ? this.#backoff.told(0) : this.#backoff.next();
    this.#timer = this.#means.clock.setTimeout(() => this.connect(), delayMs);
    this.#tell("waiting", { delayMs, code, reason });
  }

  /** Lets go of the socket, and closes it if a code is given. */
  #let(code) {
    this.#means.clock.clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (code !== undefined) socket.close(code);
  }

  #tell(state, detail = {}) {
    this.#state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, ...detail } }));
  }
}
