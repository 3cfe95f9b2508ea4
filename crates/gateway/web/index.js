/** The front page: what this is connected to, commands to copy, and a socket to try by hand. */

import { followState } from "./chat/status.js";
import { Gateway } from "./client.js";
import { byId, el } from "./dom.js";

/** How often the round trip is measured. */
const PING_EVERY_MS = 5000;

/** Messages kept on the page. */
const FRAMES_MAX = 200;

const url = new URL("ws", document.baseURI);
url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
url.hash = url.search = "";

function showConnection() {
  const gateway = new Gateway(url.href);
  const measure = async () => {
    if (gateway.state !== "connected" || document.visibilityState === "hidden") return;
    // Without an answer the state says what is the matter.
    const ms = await gateway.ping().catch(() => undefined);
    byId("round-trip").textContent = ms === undefined ? "–" : `${ms.toFixed(1)} ms`;
  };
  gateway.addEventListener("state", ({ detail }) => {
    byId("node").textContent = detail.node ?? "–";
    byId("client").textContent = detail.client ?? "–";
    const bytes = gateway.maxMessageBytes;
    byId("max-message").textContent = bytes === null ? "–" : `${Math.round(bytes / 1024)} KiB`;
    if (detail.state === "connected") measure();
    else byId("round-trip").textContent = "–";
  });
  followState(gateway);
  setInterval(measure, PING_EVERY_MS);
  gateway.connect();
}

function showCommands() {
  const subscribe = '{"type":"subscribe","id":1,"channel":"chat:lobby"}';
  const publish = '{"type":"publish","id":1,"channel":"chat:lobby","data":"hello"}';
  byId("command-listen").textContent = `npx wscat -c ${url.href} -w -1 -x '${subscribe}'`;
  byId("command-publish").textContent = `npx wscat -c ${url.href} -x '${publish}'`;
  byId("raw-url").textContent = new URL("raw/{channel}", url).href.replace("%7Bchannel%7D", "<channel>");
  byId("example").textContent = [
    'import { Gateway } from "./client.js";',
    "",
    `const gateway = new Gateway("${url.href}");`,
    'gateway.subscribe("chat:lobby", {',
    "  onPublication: ({ data }) => console.log(data),",
    '  onGap: () => console.log("some were lost: reload"),',
    "});",
    "gateway.connect();",
    'await gateway.publish("chat:lobby", { text: "hello" });',
  ].join("\n");
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(button, byId(button.dataset.copy)));
  }
}

/** Copies; where the page may not, it selects what is to be copied. */
async function copy(button, from) {
  getSelection().selectAllChildren(from);
  try {
    await navigator.clipboard.writeText(from.textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Selected";
  }
}

/** A bare WebSocket and every message of it. */
function byHand() {
  let socket = null;
  let id = 0;
  const note = (kind, text) => {
    const sigil = { out: "→", in: "←", note: "·" }[kind];
    const box = byId("hand-box");
    byId("hand-frames").append(el("li", { class: kind }, el("span", { class: "sigil" }, sigil), el("code", {}, text)));
    while (byId("hand-frames").childElementCount > FRAMES_MAX) byId("hand-frames").firstElementChild.remove();
    box.scrollTop = box.scrollHeight;
  };
  const send = (text) => {
    note("out", text);
    socket.send(text);
  };
  const show = () => {
    const isOpen = socket?.readyState === WebSocket.OPEN;
    byId("hand-tools").disabled = !isOpen;
    byId("hand-toggle").textContent = socket === null ? "Connect" : "Disconnect";
    const state = socket === null ? "not connected" : "connecting…";
    byId("hand-state").textContent = isOpen ? `connected to ${url.href}` : state;
  };
  const connect = () => {
    socket = new WebSocket(url, ["gateway.v1.json"]);
    socket.onopen = show;
    socket.onmessage = ({ data }) => note("in", data);
    socket.onclose = ({ code, reason }) => {
      note("note", `closed with ${code}${reason ? ` ${reason}` : ""}`);
      socket = null;
      show();
    };
    show();
  };
  const onSubmit = (form, act) => {
    byId(form).addEventListener("submit", (event) => {
      event.preventDefault();
      act();
    });
  };
  const channel = () => JSON.stringify(byId("hand-channel").value);
  onSubmit("hand-connect", () => (socket === null ? connect() : socket.close(1000)));
  onSubmit("hand-subscribe", () => send(`{"type":"subscribe","id":${(id += 1)},"channel":${channel()}}`));
  // As it was typed: what the gateway says of a mistake is part of trying.
  onSubmit("hand-publish", () =>
    send(`{"type":"publish","id":${(id += 1)},"channel":${channel()},"data":${byId("hand-data").value}}`),
  );
  onSubmit("hand-send", () => send(byId("hand-frame").value));
  byId("hand-clear").addEventListener("click", () => byId("hand-frames").replaceChildren());
}

showCommands();
byHand();
showConnection();
