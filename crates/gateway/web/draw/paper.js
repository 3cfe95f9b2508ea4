/** The canvas: shows a drawing as large as there is room for. */

import { BOARD, ERASER } from "./piece.js";

/** Pieces have seams where they meet, by a hair, and so has what is repainted in part. Once it is quiet, lines become whole. */
const QUIET_MS = 300;

function trace(context, { color, width, points }) {
  context.globalCompositeOperation = color === ERASER ? "destination-out" : "source-over";
  // A word that is no colour leaves the one before it.
  context.fillStyle = "#000000";
  context.fillStyle = color === ERASER ? "#000000" : color;
  context.strokeStyle = context.fillStyle;
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  if (points.length === 2) {
    context.arc(points[0], points[1], width / 2, 0, 2 * Math.PI);
    return context.fill();
  }
  context.moveTo(points[0], points[1]);
  for (let index = 2; index < points.length; index += 2) context.lineTo(points[index], points[index + 1]);
  context.stroke();
}

/** A sheet over a drawing. */
export class Paper {
  #drawing;
  #element;
  #dry;
  #wet;
  #scale = 1;
  #quiet = null;

  /**
   * @param {import("./drawing.js").Drawing} drawing
   * @param {{room: Element, sheet: HTMLElement, dry: HTMLCanvasElement, wet: HTMLCanvasElement}} elements the room there is,
   *   the sheet in it, and on that the canvas of the drawing and one over it for lines that are not pieces yet.
   */
  constructor(drawing, { room, sheet, dry, wet }) {
    this.#drawing = drawing;
    this.#element = sheet;
    this.#dry = dry.getContext("2d");
    this.#wet = wet.getContext("2d");
    new ResizeObserver(([{ contentRect }]) => this.#fit(contentRect)).observe(room);
  }

  /** The board's point under a pointer, in its units. */
  pointAt({ clientX, clientY }) {
    const { left, top, width } = this.#element.getBoundingClientRect();
    const units = BOARD.width / width;
    return [(clientX - left) * units, (clientY - top) * units];
  }

  /** Shows a piece that the drawing has now. */
  added(piece) {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.repaint(), QUIET_MS);
    const { pieces } = this.#drawing;
    if (pieces.at(-1) === piece) return trace(this.#dry, piece);
    const above = pieces.slice(pieces.lastIndexOf(piece) + 1);
    if (!above.some(({ box }) => touches(box, piece.box))) return trace(this.#dry, piece);
    this.#repaintPart(piece.box);
  }

  /** Shows everything anew. */
  repaint() {
    clearTimeout(this.#quiet);
    this.#dry.clearRect(0, 0, BOARD.width, BOARD.height);
    for (const line of linesOf(this.#drawing.pieces)) trace(this.#dry, line);
  }

  /** Shows lines that are not pieces yet. */
  showWet(lines) {
    this.#wet.clearRect(0, 0, BOARD.width, BOARD.height);
    for (const line of lines) trace(this.#wet, line.color === ERASER ? { ...line, color: "#ffffffb0" } : line);
  }

  #fit({ width, height }) {
    const cssWidth = Math.floor(Math.min(width, (height * BOARD.width) / BOARD.height));
    this.#element.style.width = `${cssWidth}px`;
    const pixels = Math.max(1, Math.round(cssWidth * (globalThis.devicePixelRatio || 1)));
    if (pixels === this.#dry.canvas.width) return;
    this.#scale = pixels / BOARD.width;
    for (const context of [this.#dry, this.#wet]) {
      context.canvas.width = pixels;
      context.canvas.height = Math.round((pixels * BOARD.height) / BOARD.width);
      context.setTransform(this.#scale, 0, 0, this.#scale, 0, 0);
    }
    this.repaint();
  }

  /** Whole pixels: a clip through the middle of one would leave a line. */
  #repaintPart({ left, top, right, bottom }) {
    const [x, y] = [Math.floor(left * this.#scale), Math.floor(top * this.#scale)];
    const [width, height] = [Math.ceil(right * this.#scale) - x, Math.ceil(bottom * this.#scale) - y];
    const context = this.#dry;
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.clearRect(x, y, width, height);
    context.setTransform(this.#scale, 0, 0, this.#scale, 0, 0);
    const units = { left: x, top: y, right: x + width, bottom: y + height };
    for (const side of Object.keys(units)) units[side] /= this.#scale;
    for (const piece of this.#drawing.pieces) if (touches(piece.box, units)) trace(context, piece);
    context.restore();
  }
}

/** Pieces of which each goes on where the one before it ended, as one line. */
function* linesOf(pieces) {
  let line = null;
  for (const piece of pieces) {
    const [x, y] = piece.points;
    const goesOn = line !== null && line.by === piece.by && line.color === piece.color && line.width === piece.width;
    if (goesOn && piece.by !== "" && line.points.at(-2) === x && line.points.at(-1) === y) {
      line.points.push(...piece.points.slice(2));
      continue;
    }
    if (line !== null) yield line;
    line = { ...piece, points: [...piece.points] };
  }
  if (line !== null) yield line;
}

function touches(one, other) {
  return one.left <= other.right && other.left <= one.right && one.top <= other.bottom && other.top <= one.bottom;
}
