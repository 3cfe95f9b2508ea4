/** Private messages, presence, history, and what belongs to no command. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { connected, outcome, scripted } from "./support.js";

test("private messages, presence and history are asked as the protocol says", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  const sent = gateway.send("n2.c.9", { text: "psst" }, { event: "whisper" });
  const send = await peer.answer("send", { type: "sent" });
  assert.deepEqual(send, { type: "send", id: 1, to: "n2.c.9", data: { text: "psst" }, event: "whisper" });
  await sent;

  const counted = gateway.presence("news", { countOnly: true });
  assert.equal((await peer.answer("presence", { type: "presence", clients: 3, users: 2 })).count_only, true);
  assert.deepEqual(await counted, { channel: "news", clients: 3, users: 2 });

  const past = gateway.history("news", { limit: 2, since: { epoch: "e1", offset: 1 }, reverse: true });
  const publications = [{ offset: 3, time: 1, data: "c" }];
  const newest = { epoch: "e1", offset: 3 };
  const asked = await peer.answer("history", { type: "history", ...newest, publications });
  assert.deepEqual([asked.limit, asked.since, asked.reverse], [2, { epoch: "e1", offset: 1 }, true]);
  assert.deepEqual(await past, { ...newest, channel: "news", publications: [{ ...publications[0], channel: "news" }] });
}));

test("a command without an answer fails in time, and so does one without a connection", scripted(async (parts) => {
  const { gateway, clock } = parts;
  await assert.rejects(gateway.history("news"), { code: "offline" });
  const peer = await connected(parts);
  const late = outcome(gateway.presence("news"));
  await peer.expect("presence");
  clock.advance(10_000);
  assert.equal(await late, "timeout");
  const cut = outcome(gateway.send("n2.c.9", 1));
  await peer.expect("send");
  peer.terminate();
  assert.equal(await cut, "connection_lost");
}));

test("refusals that belong to nothing are events", scripted(async (parts) => {
  const peer = await connected(parts);
  const told = new Promise((resolve) => parts.gateway.addEventListener("error", resolve));
  peer.send({ type: "error", code: "bad_request", message: "what?", temporary: false });
  assert.equal((await told).detail.code, "bad_request");
}));

test("every message is shown as text to whoever wants to see it", async () => {
  const frames = [];
  await scripted({ onFrame: (direction, text) => frames.push([direction, text]) }, async (parts) => {
    const peer = await connected(parts);
    const ping = parts.gateway.ping();
    await peer.answer("ping", { type: "pong" });
    await ping;
    assert.deepEqual(frames.map(([direction]) => direction), ["in", "out", "in"]);
    assert.deepEqual(frames.slice(1).map(([, text]) => text), ['{"type":"ping","id":1}', '{"id":1,"type":"pong"}']);
  })();
});
