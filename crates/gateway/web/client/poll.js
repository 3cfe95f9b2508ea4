/** Long polling in the shape of a WebSocket, for networks that let none through. */

import { byteLength } from "./wire.js";

/** The most commands that one body may have. */
const BATCH_MAX = 256;

/** What the statuses of a refusal are as close codes; all others are a lost connection. */
const CLOSES = { 401: 4001, 403: 4003, 413: 1009 };

/**
 * Opens a session beside the address of a WebSocket (`/poll` for `/ws`).
 *
 * @param {string} url as for the WebSocket.
 * @param {string} [token]
 * @returns {Pick<WebSocket, "send" | "close" | "onmessage" | "onclose">}
 */
export function openPoll(url, token) {
  const address = new URL(url.replace("ws", "http"));
  address.pathname = address.pathname.replace(/[^/]*$/, "poll");
  const over = new AbortController();
  const { signal } = over;
  const unsent = [];
  let isSending = false;
  let maxBytes;
  let leave = () => {};

  const socket = { send, close };
  receive();
  return socket;

  /** One request, and the messages that answer it: none, if that was the end. */
  async function exchange(method, body, headers) {
    try {
      const response = await fetch(address, { method, body, headers, signal });
      if (response.ok) return JSON.parse((await response.text()) || "[]");
      const { status } = response;
      end({ code: CLOSES[status], reason: `HTTP ${status}`, retryMs: 1000 * response.headers.get("Retry-After") });
    } catch (error) {
      end({ reason: error.message });
    }
    return [];
  }

  async function receive() {
    const [opening, ...messages] = await exchange("POST", "", token && { Authorization: `Bearer ${token}` });
    if (opening) opened(opening.session);
    deliver(messages);
    while (!signal.aborted) deliver(await exchange("GET"));
  }

  function opened(session) {
    address.searchParams.set("session", session);
    leave = () => fetch(address, { method: "DELETE", keepalive: true }).catch(() => {});
    // Closed before it was open, or later by a page that goes away.
    if (signal.aborted) leave();
    globalThis.addEventListener?.("pagehide", leave, { signal });
  }

  function deliver(messages) {
    for (const message of messages) {
      if (message.type === "welcome") maxBytes = message.max_message_bytes;
      if (message.type === "close") end(message);
      else socket.onmessage?.({ data: JSON.stringify(message) });
    }
  }

  /** One body at a time, so that their order holds. */
  async function send(text) {
    unsent.push(text);
    if (isSending) return;
    isSending = true;
    while (unsent.length > 0) await exchange("POST", nextBody());
    isSending = false;
  }

  /** As many commands as a message may hold. */
  function nextBody() {
    const batch = [unsent.shift()];
    while (unsent.length > 0 && batch.length < BATCH_MAX && byteLength(`[${batch},${unsent[0]}]`) <= maxBytes) {
      batch.push(unsent.shift());
    }
    return batch.length > 1 ? `[${batch}]` : batch[0];
  }

  function end(event) {
    if (!signal.aborted) socket.onclose?.(event);
    over.abort();
  }

  function close() {
    over.abort();
    leave();
  }
}
