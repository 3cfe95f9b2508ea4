/** Pieces of lines: what one author has drawn in a moment, as it is sent and as strangers may send it. */

/** The board, in its own units. Every screen shows all of it, as large as it can. */
export const BOARD = { width: 1600, height: 1200 };

/** The colour that takes away. */
export const ERASER = "eraser";

/** The most points of one piece. */
export const POINTS_MAX = 500;

const WIDTH_MAX = 200;

/** How far outside the board a point may lie. */
const MARGIN = 1000;

/** The line of a page that does not say how wide it draws. */
const FOREIGN_WIDTH = 3;

/**
 * @typedef {object} Piece
 * @property {string} by its author: one page from its opening to its end.
 * @property {number} n the author's pieces are numbered from 1.
 * @property {number} t Lamport time: what was drawn later lies above.
 * @property {string} color `#rrggbb`, or {@link ERASER}.
 * @property {number} width
 * @property {number[]} points x and y in turn; one point is a dot.
 * @property {{left: number, top: number, right: number, bottom: number}} box what it may touch.
 */

/**
 * The piece that a stranger's JSON describes; null if it is none.
 *
 * @returns {Piece | null}
 */
export function pieceOf(data) {
  if (data === null || typeof data !== "object") return null;
  const { by, n, t, color, width, points } = data;
  if (!isAuthor(by) || !isCount(n) || n === 0 || !isCount(t)) return null;
  if (color !== ERASER && !(typeof color === "string" && /^#[0-9a-f]{6}$/.test(color))) return null;
  if (!isBetween(width, 0.5, WIDTH_MAX) || !arePoints(points)) return null;
  return withBox({ by, n, t, color, width, points: points.map(rounded) });
}

/** What is sent of a piece. */
export function told({ by, n, t, color, width, points }) {
  return { by, n, t, color, width, points };
}

/** A piece with the rectangle that it may touch. */
export function withBox(piece) {
  const { points, width } = piece;
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (let index = 0; index < points.length; index += 2) {
    box.left = Math.min(box.left, points[index]);
    box.right = Math.max(box.right, points[index]);
    box.top = Math.min(box.top, points[index + 1]);
    box.bottom = Math.max(box.bottom, points[index + 1]);
  }
  const reach = width / 2 + 2;
  box.left -= reach;
  box.top -= reach;
  box.right += reach;
  box.bottom += reach;
  return { ...piece, box };
}

/**
 * The line of a page that sends each segment as `{x0, y0, x1, y1, color}`: in parts of its canvas, or in its pixels. Null
 * if it is none. Such lines have no author and no number.
 */
export function foreignLine(data, t) {
  if (data === null || typeof data !== "object") return null;
  const ends = [data.x0, data.y0, data.x1, data.y1];
  if (!ends.every((one) => isBetween(one, -MARGIN, BOARD.width + MARGIN))) return null;
  const areParts = ends.every((one) => one >= 0 && one <= 1);
  const points = areParts ? ends.map((one, index) => one * (index % 2 ? BOARD.height : BOARD.width)) : ends;
  const isColor = typeof data.color === "string" && /^[#a-z0-9(),.% ]{1,40}$/i.test(data.color);
  const width = [data.width, data.lineWidth, data.size].find((one) => isBetween(one, 0.5, WIDTH_MAX)) ?? FOREIGN_WIDTH;
  return withBox({ by: "", n: 0, t, color: isColor ? data.color : "#000000", width, points: points.map(rounded) });
}

/** A tenth of a unit is finer than any screen. */
export function rounded(number) {
  return Math.round(number * 10) / 10;
}

export function isAuthor(by) {
  return typeof by === "string" && /^[a-z0-9]{1,24}$/.test(by);
}

/** A number that can be counted on from. */
export function isCount(value) {
  return Number.isSafeInteger(value) && value >= 0 && value <= 2 ** 52;
}

function isBetween(value, least, most) {
  return typeof value === "number" && value >= least && value <= most;
}

function arePoints(points) {
  if (!Array.isArray(points) || points.length < 2 || points.length > 2 * POINTS_MAX || points.length % 2) return false;
  return points.every((one) => isBetween(one, -MARGIN, BOARD.width + MARGIN));
}
