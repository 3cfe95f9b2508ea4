/** Mice, fingers and pens: what they draw becomes pieces while they draw it. */

import { BATCH_MS } from "./mine.js";
import { POINTS_MAX, rounded } from "./piece.js";

/** Draws with every pointer that is down; several fingers are several lines. */
export class Pen {
  #paper;
  #mine;
  #tool;
  #on;
  #lines = new Map();

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.sheet
   * @param {import("./paper.js").Paper} parts.paper
   * @param {import("./mine.js").Mine} parts.mine
   * @param {() => {color: string, width: number}} parts.tool what is drawn with.
   * @param {object} parts.on `piece(piece)`, `refused()`, `move(x, y)` of a pointer over the sheet, and `leave()`.
   */
  constructor({ sheet, paper, mine, tool, on }) {
    this.#paper = paper;
    this.#mine = mine;
    this.#tool = tool;
    this.#on = on;
    sheet.addEventListener("pointerdown", (event) => this.#down(event, sheet));
    sheet.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) sheet.addEventListener(name, (event) => this.#up(event));
    sheet.addEventListener("pointerleave", (event) => this.#lines.has(event.pointerId) || on.leave());
    setInterval(() => this.#commit(), BATCH_MS);
  }

  /** Makes pieces of all that is drawn so far, as before the page is left. */
  finish() {
    this.#commit();
  }

  #down(event, sheet) {
    if (event.button !== 0) return;
    // No text is selected, and no page is scrolled.
    event.preventDefault();
    sheet.setPointerCapture(event.pointerId);
    this.#lines.set(event.pointerId, { ...this.#tool(), points: this.#pointOf(event), isBegun: false });
    this.#show();
  }

  #move(event) {
    this.#on.move(...this.#pointOf(event));
    const line = this.#lines.get(event.pointerId);
    if (line === undefined) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    for (const step of steps.length > 0 ? steps : [event]) {
      const [x, y] = this.#pointOf(step);
      if (x !== line.points.at(-2) || y !== line.points.at(-1)) line.points.push(x, y);
    }
    if (line.points.length >= POINTS_MAX) this.#commit();
    this.#show();
  }

  #up(event) {
    const line = this.#lines.get(event.pointerId);
    if (line === undefined) return;
    this.#commit();
    this.#lines.delete(event.pointerId);
    this.#show();
    if (event.pointerType !== "mouse") this.#on.leave();
  }

  #pointOf(event) {
    return this.#paper.pointAt(event).map(rounded);
  }

  /** Each piece begins where the one before it has ended. */
  #commit() {
    if (this.#lines.size === 0) return;
    for (const [id, line] of this.#lines) {
      if (line.isBegun && line.points.length === 2) continue;
      for (let from = 0; from === 0 || from + 2 < line.points.length; from += 2 * POINTS_MAX - 2) {
        const piece = this.#mine.draw({ ...line, points: line.points.slice(from, from + 2 * POINTS_MAX) });
        if (piece === null) {
          this.#lines.delete(id);
          this.#on.refused();
          break;
        }
        this.#on.piece(piece);
      }
      line.isBegun = true;
      line.points = line.points.slice(-2);
    }
    this.#show();
  }

  #show() {
    this.#paper.showWet([...this.#lines.values()]);
  }
}
