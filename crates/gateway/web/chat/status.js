/** The honest word on the connection, for the chat and for the front page. */

import { byId } from "../dom.js";

/** Follows a client's state in the element `status`, with the button `status-now` to hurry it. */
export function followState(gateway) {
  const now = byId("status-now");
  let counting = null;
  gateway.addEventListener("state", ({ detail }) => {
    clearInterval(counting);
    now.hidden = detail.state !== "waiting" && detail.state !== "closed";
    now.textContent = detail.state === "closed" ? "Connect" : "Now";
    now.setAttribute("aria-label", detail.state === "closed" ? "Connect" : "Reconnect now");
    byId("status").title = detail.reason ?? "";
    if (detail.state === "connected") show("good", `connected to ${detail.node}`);
    if (detail.state === "connecting") show("busy", "connecting…");
    if (detail.state === "closed") show("bad", `not connected: ${detail.reason || `code ${detail.code}`}`);
    if (detail.state === "waiting") counting = count(detail.delayMs);
    // The seconds that are counted down are for the eye only.
    byId("status-spoken").textContent = byId("status").textContent;
  });
  now.addEventListener("click", () => gateway.connect());
}

function show(kind, text) {
  byId("status").className = `status ${kind}`;
  byId("status").textContent = text;
}

function count(delayMs) {
  const until = performance.now() + delayMs;
  const tick = () => {
    const seconds = Math.ceil((until - performance.now()) / 1000);
    show("busy", seconds > 0 ? `reconnecting in ${seconds} s` : "reconnecting…");
  };
  tick();
  return setInterval(tick, 250);
}
