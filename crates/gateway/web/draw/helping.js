/**
 * Peers help one another to what the history has forgotten. Whoever comes says what it has; of those who have more, the one
 * whose random wait ends first says so and sends it, and the others let it. One who hears of something that it lacks asks, too.
 */

import { pieceOf, told } from "./piece.js";

/** After coming, the relay's history is there first. */
const SETTLE_MS = 400;

/** Random waits are spread over so much for each user, and over so much at most. */
const SPREAD_MS_PER_USER = 30;
const SPREAD_MS_MAX = 2000;

/** Without a piece for so long, nobody helps, or the helper is gone. */
const SILENCE_MS = 4000;

/** How often one asks in vain. After the first time nobody holds back for the sake of another. */
const ATTEMPTS = 3;

/** The most characters of one answer, within the bound for messages. */
const ANSWER_CHARS = 30_000;

/** Up to so many users, pages that lie in the background answer a repeated question at once: their timers may sleep. */
const FEW_USERS = 20;

/** Questions that wait for this page at a time. */
const QUESTIONS_MAX = 50;

/** Asks, and answers those who ask. */
export class Helping {
  #drawing;
  #company;
  #gateway;
  #on;
  #question = null;
  #asking = null;
  #silence = null;
  /** What this page may answer, by the id of the question. */
  #questions = new Map();

  /**
   * @param {object} parts
   * @param {import("./drawing.js").Drawing} parts.drawing
   * @param {import("./company.js").Company} parts.company
   * @param {import("../client.js").Gateway} parts.gateway
   * @param {object} parts.on `piece(piece)` and `clear(vector)`: what has come; `state()`.
   */
  constructor({ drawing, company, gateway, on }) {
    this.#drawing = drawing;
    this.#company = company;
    this.#gateway = gateway;
    this.#on = on;
    gateway.addEventListener("message", ({ detail }) => this.#take(detail));
  }

  /** Whether somebody is sending what was missing here. */
  get isHelped() {
    return this.#question !== null && this.#question.isAnswered;
  }

  /** Asks in a moment, unless that is about to be done. */
  soon() {
    this.#asking ??= setTimeout(() => {
      this.#asking = null;
      this.#ask(0);
    }, SETTLE_MS + this.#spread());
  }

  /** What was said among the others on the board. */
  heard({ event, from, data }) {
    const ask = data?.ask;
    if (typeof ask !== "string" || ask.length > 40) return;
    if (event === "helping") {
      const question = this.#questions.get(ask);
      if (question?.mayYield) this.#drop(ask);
    }
    if (event === "asking") this.#asked(from.client, data);
  }

  #ask(attempt) {
    clearTimeout(this.#silence);
    this.#question = null;
    if (attempt < ATTEMPTS && this.#company.isHere && !this.#drawing.isFull) {
      const ask = crypto.getRandomValues(new Uint32Array(3)).join("-");
      this.#question = { ask, attempt, isAnswered: false, isNews: false };
      let summary = this.#drawing.summary();
      // Too much to tell: then everything may come, and what is here already does no harm.
      if (JSON.stringify(summary).length > ANSWER_CHARS) summary = {};
      this.#company.say("asking", { ask, attempt, ...summary });
      this.#listen();
    }
    this.#on.state();
  }

  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#ask(this.#question.attempt + 1), SILENCE_MS);
  }

  #take({ event, data }) {
    if (event !== "pieces" || this.#question === null || data?.ask !== this.#question.ask) return;
    this.#question.isAnswered = true;
    if (data.cleared !== undefined && this.#on.clear(data.cleared)) this.#question.isNews = true;
    for (const one of Array.isArray(data.pieces) ? data.pieces : []) {
      const piece = pieceOf(one);
      if (piece !== null && this.#on.piece(piece)) this.#question.isNews = true;
    }
    if (data.isLast === true) {
      // Another peer may have what this one did not.
      this.#ask(this.#question.isNews ? 0 : this.#question.attempt + 1);
    } else {
      this.#listen();
      this.#on.state();
    }
  }

  #asked(client, question) {
    if (this.#drawing.lacks(question) && this.#question === null) this.soon();
    if (this.#questions.size >= QUESTIONS_MAX || this.#questions.has(question.ask)) return;
    const { pieces, cleared } = this.#drawing.missingIn(question);
    if (pieces.length === 0 && Object.keys(cleared).length === 0) return;
    const isFirst = question.attempt === 0;
    const sleeps = !isFirst && globalThis.document?.hidden === true && this.#company.users <= FEW_USERS;
    const timer = sleeps ? null : setTimeout(() => this.#answer(client, question), this.#spread());
    this.#questions.set(question.ask, { timer, mayYield: isFirst });
    if (sleeps) this.#answer(client, question);
  }

  /** Each part is sent when the one before it has reached the other's node. */
  async #answer(client, question) {
    const { ask } = question;
    this.#questions.get(ask).mayYield = false;
    this.#company.say("helping", { ask });
    const { pieces, cleared } = this.#drawing.missingIn(question);
    try {
      await this.#gateway.send(client, { ask, cleared }, { event: "pieces" });
      for (const part of partsOf(pieces)) await this.#gateway.send(client, { ask, pieces: part }, { event: "pieces" });
      await this.#gateway.send(client, { ask, isLast: true }, { event: "pieces" });
    } catch {
      // Whoever is still there asks again.
    }
    this.#questions.delete(ask);
  }

  #drop(ask) {
    clearTimeout(this.#questions.get(ask).timer);
    this.#questions.delete(ask);
  }

  #spread() {
    return Math.random() * Math.min(SPREAD_MS_MAX, SPREAD_MS_PER_USER * (this.#company.users ?? 1));
  }
}

/** Pieces in parts that fit a message each. */
function* partsOf(pieces) {
  let part = [];
  let chars = 0;
  for (const piece of pieces.map(told)) {
    const { length } = JSON.stringify(piece);
    if (part.length > 0 && chars + length > ANSWER_CHARS) {
      yield part;
      [part, chars] = [[], 0];
    }
    part.push(piece);
    chars += length;
  }
  if (part.length > 0) yield part;
}
