/** The scripted gateway's long polling: `/poll` as PROTOCOL.md describes it, and nothing of what is said by it. */

import { EventEmitter } from "node:events";

/** A session, in the shape of a WebSocket of `ws`. Emits `body` for each POST, before it is taken. */
class PollSession extends EventEmitter {
  /** What came by POST, as it came. */
  bodies = [];
  #waiting = [];
  #poll = null;
  #hold = null;
  #isClosing = false;

  send(text) {
    this.#waiting.push(text);
    this.#flush();
  }

  /** It is known until its last words have been fetched. */
  close(code, reason = "") {
    this.#isClosing = true;
    this.send(JSON.stringify({ type: "close", code, reason }));
  }

  /** Breaks it: whoever asks is told that there is no such session. */
  terminate() {
    this.#poll?.writeHead(404).end();
    this.emit("close");
  }

  /** Takes no body from now on until the function it gives is called. */
  hold() {
    let release;
    this.#hold = new Promise((resolve) => (release = resolve));
    return release;
  }

  poll(response) {
    this.#poll?.end("[]");
    this.#poll = response;
    this.#flush();
  }

  async take(body, response) {
    this.bodies.push(body);
    this.emit("body", body);
    await this.#hold;
    this.emit("message", body);
    response.writeHead(204).end();
  }

  #flush() {
    if (this.#poll === null || this.#waiting.length === 0) return;
    this.#poll.setHeader("Content-Type", "application/json");
    this.#poll.end(`[${this.#waiting.splice(0)}]`);
    this.#poll = null;
    if (this.#isClosing) this.emit("close");
  }
}

/** All sessions. Emits `session`, with the request that opened it. */
export class Polls extends EventEmitter {
  /** With which status and headers sessions are refused. */
  refusal = null;
  /** What was asked, as `METHOD status`; DELETE and what was refused. */
  seen = [];
  #sessions = new Map();

  async answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, "http://gateway");
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const end = (status, headers) => {
      this.seen.push(`${request.method} ${status}`);
      response.writeHead(status, headers).end();
    };
    const name = searchParams.get("session");
    if (pathname !== "/poll") return end(404);
    if (name === null) return this.#open(request, response, end);
    const session = this.#sessions.get(name);
    if (session === undefined) return end(404);
    if (request.method === "GET") return session.poll(response);
    if (request.method === "POST") return session.take(body, response);
    this.#sessions.delete(name);
    end(204);
    session.emit("close", 1000);
  }

  #open(request, response, end) {
    if (this.refusal !== null) return end(this.refusal.status, this.refusal.headers);
    const session = new PollSession();
    const name = `s${this.#sessions.size}`;
    this.#sessions.set(name, session);
    session.once("close", () => this.#sessions.delete(name));
    response.end(JSON.stringify([{ type: "opened", session: name, wait_ms: 25_000 }]));
    this.emit("session", session, request);
  }
}
