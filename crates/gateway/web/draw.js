/** A drawing board for everybody who opens it: the page's hash names its channel, whose raw relay carries what is drawn. */

import { cleanName, People } from "./chat/people.js";
import { followState } from "./chat/status.js";
import { Gateway } from "./client.js";
import { checkChannel } from "./client/wire.js";
import { byId } from "./dom.js";
import { Company } from "./draw/company.js";
import { Drawing } from "./draw/drawing.js";
import { Helping } from "./draw/helping.js";
import { Mine } from "./draw/mine.js";
import { Paper } from "./draw/paper.js";
import { Pen } from "./draw/pen.js";
import { pieceOf } from "./draw/piece.js";
import { Relay } from "./draw/relay.js";

const BOARD = "board";

/** The relay is renewed when the other connection was lost and this one has been silent for so long. */
const SILENT_MS = 15_000;

const board = boardOf(location.hash);
const people = new People();
const drawing = new Drawing();
const paper = new Paper(drawing, { room: byId("room"), sheet: byId("sheet"), dry: byId("paper"), wet: byId("wet") });
const url = new URL("ws", document.baseURI);
url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
url.hash = url.search = "";

const gateway = new Gateway(url.href, { getToken: () => people.token });
const relay = new Relay(new URL(`raw/${encodeURIComponent(board)}`, url).href, () => people.token);
const mine = new Mine({ drawing, relay });
const company = new Company({
  gateway,
  channel: `${board}:pointers`,
  people,
  sheet: byId("sheet"),
  on: { users: showUsers, here: () => helping.soon(), heard: (publication) => helping.heard(publication), refused },
});
const helping = new Helping({
  drawing,
  company,
  gateway,
  on: { piece: (piece) => drawing.add(piece) && showSoon(), clear: (vector) => cleared(vector), state: showNote },
});
const pen = new Pen({
  sheet: byId("sheet"),
  paper,
  mine,
  tool: () => ({ color: chosen("color"), width: Number(chosen("width")) }),
  on: {
    piece: added,
    refused: () => showNote(),
    move: (x, y) => company.moved({ x, y }),
    leave: () => company.moved(null),
  },
});

/** The latest time that this connection has relayed: where a line without one belongs. */
let relayedTime = 0;
let isToBeShown = false;
/** Why others are not heard, where the gateway has said so. */
let refusal = null;

function boardOf(hash) {
  try {
    const name = decodeURIComponent(hash.slice(1));
    checkChannel(`${name}:pointers`);
    return name || BOARD;
  } catch {
    // Not an encoding, or not a name of a channel.
    return BOARD;
  }
}

function chosen(name) {
  return new FormData(byId("tools")).get(name);
}

/** A message of the board's channel. Anybody may have sent it, and it may be anything. */
function relayed(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return;
  }
  if (message === null || typeof message !== "object") return;
  if (Array.isArray(message.pieces)) return message.pieces.forEach(relayedPiece);
  if (message.clear !== undefined) {
    const hasForeign = drawing.clearForeign();
    if (cleared(message.clear) || hasForeign) showSoon();
    return mine.heardClear(message.clear);
  }
  const line = drawing.addForeign(message, relayedTime);
  if (line !== null) added(line);
}

function relayedPiece(data) {
  const piece = pieceOf(data);
  if (piece === null) return;
  relayedTime = Math.max(relayedTime, piece.t);
  if (drawing.add(piece)) added(piece);
  mine.heard(piece);
}

function cleared(vector) {
  const isNews = drawing.clear(vector);
  if (isNews) showSoon();
  return isNews;
}

function added(piece) {
  paper.added(piece);
  showCount();
}

/** Many pieces that come together are shown together. */
function showSoon() {
  if (!isToBeShown) {
    isToBeShown = true;
    requestAnimationFrame(() => {
      isToBeShown = false;
      paper.repaint();
      showCount();
    });
  }
  return true;
}

function showCount() {
  byId("paper").dataset.pieces = drawing.pieces.length;
  byId("empty").hidden = drawing.pieces.length > 0;
}

function showUsers() {
  byId("users").textContent = company.users ?? "–";
}

function showNote() {
  let text = "";
  if (helping.isHelped) text = "Others are sending what was drawn before…";
  if (refusal !== null) text = refusal;
  if (relay.state !== "connected" && mine.waiting > 0) text = "What you draw now is sent when the connection is back.";
  if (!mine.hasRoom) text = "There is no room for more until the connection is back.";
  if (drawing.isFull) text = "This board is full: clear it, or go to another one.";
  if (byId("note").textContent !== text) byId("note").textContent = text;
  byId("note").hidden = text === "";
}

function showSelf() {
  byId("my-name").textContent = people.ownLabel;
  byId("my-avatar").textContent = [...people.ownLabel][0].toUpperCase();
}

function refused(code, reason) {
  if (code === "unauthenticated") return settings(true);
  refusal = `Who else is here cannot be shown: ${reason} (${code}).`;
  showNote();
}

function settings(wantsToken = false) {
  byId("token-details").open = wantsToken || people.token !== undefined;
  if (byId("settings").open) return;
  byId("name").value = people.name;
  byId("token").value = people.token ?? "";
  byId("settings").showModal();
}

function settled() {
  const token = people.token;
  people.name = byId("name").value;
  people.token = byId("token").value;
  showSelf();
  if (token === people.token) return;
  gateway.close();
  relay.close();
  refusal = null;
  company.enter();
  gateway.connect();
  relay.connect();
}

function listen() {
  relay.addEventListener("message", ({ detail }) => relayed(detail));
  relay.addEventListener("state", ({ detail }) => {
    if (detail.state === "connected") {
      relayedTime = 0;
      if (company.isHere) helping.soon();
    }
    if (detail.state === "closed" && detail.code === 4001) settings(true);
    showNote();
  });
  gateway.addEventListener("state", ({ detail }) => {
    if (detail.state === "connected") people.connected(detail.client);
    if (detail.state === "closed" && detail.code === 4001) settings(true);
    if (detail.state === "waiting" && relay.silentMs > SILENT_MS) relay.renew("nothing was heard");
  });
  addEventListener("hashchange", () => location.reload());
  const finish = () => {
    pen.finish();
    mine.flush();
  };
  addEventListener("pagehide", finish);
  addEventListener("beforeunload", (event) => {
    finish();
    if (mine.waiting > 0 && relay.state !== "connected") event.preventDefault();
  });
  setInterval(showNote, 250);
  listenToDialogs();
}

function listenToDialogs() {
  const opens = (button, dialog) => byId(button).addEventListener("click", () => byId(dialog).showModal());
  opens("clear", "clearing");
  opens("boards-open", "boards");
  byId("settings-open").addEventListener("click", () => settings());
  byId("settings").addEventListener("close", settled);
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  byId("clearing").addEventListener("close", () => {
    if (byId("clearing").returnValue !== "clear") return;
    byId("clearing").returnValue = "";
    mine.clear();
    showSoon();
  });
  byId("board").addEventListener("input", () => byId("board").setCustomValidity(""));
  byId("boards").querySelector("form").addEventListener("submit", (event) => {
    const name = cleanName(byId("board").value).replace(/\s+/g, "-");
    const isPossible = name !== "" && boardOf(`#${encodeURIComponent(name)}`) === name;
    if (isPossible) return (location.hash = encodeURIComponent(name));
    event.preventDefault();
    byId("board").setCustomValidity("A board's name has no commas, braces or * in it");
    byId("board").reportValidity();
  });
}

byId("title").textContent = board;
document.title = `${board} · Draw`;
listen();
// What the page says of its connection is said of the one that carries the drawing.
followState(relay);
showSelf();
showCount();
company.enter();
gateway.connect();
relay.connect();
if (people.name === "") settings();
