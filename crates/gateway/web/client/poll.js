/** Long polling in the shape of a WebSocket, for networks that let none through. */

import { BATCH_MAX } from "./limits.js";
import { byteLength } from "./wire.js";

/** What the statuses of a refusal are as close codes; all others are a lost connection. */
const CLOSES = { 401: 4001, 403: 4003, 413: 1009 };

/**
 * Opens a session beside the address of a WebSocket (`/poll` for `/ws`).
 *
 * @param {string} url as for the WebSocket.
 * @param {string} [token]
 * @returns {Pick<WebSocket, "send" | "close" | "onmessage" | "onclose">}
 */
export const openPoll = (url, token) => {
  const address = new URL(url.replace("ws", "http"));
  address.pathname = address.pathname.replace(/[^/]*$/, "poll");
  const over = new AbortController();
  const { signal } = over;
  const unsent = [];
  let sending = Promise.resolve();
  let maxBytes;
  let leave = () => {};

  /** One request, and the messages that answer it: none, if that was the end. */
  const exchange = async (method, body, headers) => {
    try {
      const response = await fetch(address, { method, body, headers, signal });
      if (response.ok) return JSON.parse((await response.text()) || "[]");
      const { status } = response;
      end({ code: CLOSES[status], reason: `HTTP ${status}`, retryMs: 1000 * response.headers.get("Retry-After") });
    } catch (error) {
      end({ reason: error.message });
    }
    return [];
  };

  const receive = async () => {
    const [opened, ...messages] = await exchange("POST", "", token && { Authorization: `Bearer ${token}` });
    if (opened) {
      address.searchParams.set("session", opened.session);
      leave = () => fetch(address, { method: "DELETE", keepalive: true }).catch(() => {});
      // A page that goes away says so.
      globalThis.addEventListener?.("pagehide", leave, { signal });
    }
    deliver(messages);
    while (!signal.aborted) deliver(await exchange("GET"));
  };

  const deliver = (messages) => {
    for (const message of messages) {
      if (message.type === "welcome") maxBytes = message.max_message_bytes;
      if (message.type === "close") end(message);
      else socket.onmessage?.({ data: JSON.stringify(message) });
    }
  };

  /** As many commands as a message may hold. */
  const nextBody = () => {
    const batch = [unsent.shift()];
    while (unsent.length > 0 && batch.length < BATCH_MAX && byteLength(`[${batch},${unsent[0]}]`) <= maxBytes) {
      batch.push(unsent.shift());
    }
    return batch.length > 1 ? `[${batch}]` : batch[0];
  };

  /** One body at a time, so that their order holds. */
  const send = (text) => {
    unsent.push(text);
    sending = sending.then(() => unsent.length > 0 && exchange("POST", nextBody()));
  };

  const end = (event) => {
    if (!signal.aborted) socket.onclose?.(event);
    over.abort();
  };

  const close = () => {
    over.abort();
    leave();
  };

  const socket = { send, close };
  receive();
  return socket;
};
