/** Where no WebSocket opens: long polling, and the way back. */

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import { connected, items, outcome, scripted, state, subscribe } from "./support.js";

/** Lets the client fail to open a WebSocket twice, and gives the session that it polls instead, welcomed. */
async function polled(parts, more) {
  const { server, gateway } = parts;
  server.refuse(503);
  const connecting = gateway.state === "closed" ? gateway.connect() : null;
  await failed(parts, 2);
  return welcomedPoll(parts, connecting ?? state(gateway, "connected"), more);
}

/** Lets so many attempts fail, and begins the one after. */
async function failed({ gateway, clock }, count) {
  for (let attempt = 0; attempt < count; attempt += 1) clock.advance((await state(gateway, "waiting")).delayMs);
}

async function welcomedPoll({ server }, isConnected, more) {
  const peer = await server.nextPoll();
  // Only the tests of silence want to be asked for a sign of life.
  peer.welcome({ ping_interval_ms: 10_000_000, ...more });
  await isConnected;
  return peer;
}

/** Breaks the session, lets the backoff pass, and gives the one after it. */
async function brokenPoll(parts, peer) {
  const waiting = state(parts.gateway, "waiting");
  peer.terminate();
  parts.clock.advance((await waiting).delayMs);
  return welcomedPoll(parts, state(parts.gateway, "connected"));
}

/** The WebSocket that is tried in the background after so long, not yet welcome. */
async function tried({ server, clock }, afterMs) {
  server.refuse(null);
  clock.advance(afterMs);
  return server.next();
}

/** A WebSocket that never opens, and how often that was tried. */
function failing() {
  const tries = { count: 0 };
  class WebSocket {
    constructor() {
      tries.count += 1;
      queueMicrotask(() => this.onclose({ code: 1006, reason: "" }));
    }

    close() {}
  }
  return { tries, WebSocket };
}

/** All that follows from what has happened, but for what the network does. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("after two WebSockets that did not open it polls, and all is as before", scripted({ token: "abc" }, async (parts) => {
  const { gateway } = parts;
  assert.equal(gateway.transport, null);
  const peer = await polled(parts);
  assert.deepEqual([gateway.state, gateway.transport, gateway.client], ["connected", "poll", "n1.a.7"]);
  assert.equal(peer.authorization, "Bearer abc");
  const { until } = subscribe(gateway, "news");
  await peer.subscribed("e1", 4);
  peer.publication("news", 5);
  const published = gateway.publish("news", "mine");
  await peer.answer("publish", { type: "published", epoch: "e1", offset: 6 });
  assert.deepEqual(await published, { epoch: "e1", offset: 6 });
  assert.deepEqual(await until(2), [{ subscribed: false }, 5]);
}));

test("a WebSocket that once opened is given four attempts", scripted(async (parts) => {
  const { server, gateway } = parts;
  const peer = await connected(parts);
  assert.equal(gateway.transport, "websocket");
  server.refuse(503);
  const waited = failed(parts, 5);
  peer.terminate();
  await waited;
  await welcomedPoll(parts, state(gateway, "connected"));
  assert.equal(gateway.transport, "poll");
}));

test("one that is refused with a code has opened", scripted(async (parts) => {
  const { server, gateway } = parts;
  gateway.connect();
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const again = failed(parts, 1);
    (await server.next()).close(4100, "over capacity");
    await again;
  }
  const isConnected = state(gateway, "connected");
  await server.welcomed();
  assert.equal((await isConnected).transport, "websocket");
}));

test("where neither opens it goes on to try both", scripted(async (parts) => {
  const { server, gateway } = parts;
  server.refuse(503);
  server.polls.refusal = { status: 502 };
  gateway.connect();
  await failed(parts, 6);
  assert.deepEqual(server.polls.seen, ["POST 502", "POST 502"], "the third and the sixth attempt");
  server.refuse(null);
  await server.welcomed();
  await gateway.connect();
  assert.equal(gateway.transport, "websocket");
}));

test("only what is wanted is tried", async () => {
  const { tries, WebSocket } = failing();
  await scripted({ transports: ["poll"], WebSocket }, async (parts) => {
    await welcomedPoll(parts, parts.gateway.connect());
    parts.clock.advance(3_600_000);
    await settled();
    assert.deepEqual([parts.gateway.state, tries.count], ["connected", 0]);
  })();
  await scripted({ transports: ["websocket"] }, async (parts) => {
    parts.server.refuse(503);
    parts.gateway.connect();
    await failed(parts, 5);
    assert.deepEqual(parts.server.polls.seen, []);
  })();
});

test("a session that is lost is replaced by another, from the last position", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await polled(parts);
  const { until } = subscribe(gateway, "news");
  await peer.subscribed("e1", 4);
  peer.publication("news", 5);
  await until(2);
  const published = gateway.publish("news", "twice", { key: "k1" });
  await peer.expect("publish");
  const next = await brokenPoll(parts, peer);
  assert.equal(gateway.transport, "poll");
  const { recover } = await next.subscribed("e1", 6, { recovered: true, publications: items(6) });
  assert.deepEqual(recover, { epoch: "e1", offset: 5 });
  assert.equal((await next.answer("publish", { type: "published", epoch: "e1", offset: 7 })).key, "k1");
  assert.equal((await published).offset, 7);
  assert.deepEqual(await until(4), [{ subscribed: false }, 5, { subscribed: true }, 6]);
}));

test("what the gateway says at the end of a session is obeyed", scripted(async (parts) => {
  const { gateway, clock } = parts;
  const peer = await polled(parts);
  const waiting = state(gateway, "waiting");
  peer.send({ type: "reconnect", after_ms: 1830, reason: "draining" });
  peer.close(4200, "draining");
  const { delayMs, code } = await waiting;
  assert.deepEqual([code, delayMs >= 1830], [4200, true]);
  clock.advance(delayMs);
  const next = await welcomedPoll(parts, state(gateway, "connected"));
  const closed = state(gateway, "closed");
  next.close(4009, "revoked");
  assert.deepEqual(await closed, { state: "closed", code: 4009, reason: "revoked" });
}));

const REFUSALS = { 401: ["closed", 4001], 403: ["closed", 4003], 429: ["waiting", 1006], 503: ["waiting", 1006] };
for (const [status, outcomes] of Object.entries(REFUSALS)) {
  test(`a session that is refused with ${status} is as a WebSocket that is`, scripted({ transports: ["poll"] }, async (parts) => {
    const { server, gateway } = parts;
    server.polls.refusal = { status: Number(status), headers: { "Retry-After": "7" } };
    const next = state(gateway, "waiting", "closed");
    gateway.connect();
    const detail = await next;
    assert.deepEqual([detail.state, detail.code], outcomes);
    if (detail.state === "waiting") assert.equal(detail.delayMs, 7250, "no sooner than told, and a random time on top");
  }));
}

test("commands go one body at a time, together as far as a message may be long", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await polled(parts, { max_message_bytes: 300 });
  const { session } = peer;
  const release = session.hold();
  const published = [outcome(gateway.publish("news", 0))];
  await once(session, "body");
  for (const data of [1, 2, 3, 4, 5, 6]) published.push(outcome(gateway.publish("news", data)));
  const large = "x".repeat(300 - JSON.stringify({ type: "publish", channel: "news", data: "", id: 8 }).length);
  published.push(outcome(gateway.publish("news", large)));
  assert.equal(session.bodies.length, 1, "the first is not answered yet");
  release();
  for (const data of [0, 1, 2, 3, 4, 5, 6, large]) {
    assert.equal((await peer.answer("publish", { type: "published" })).data, data);
  }
  await Promise.all(published);
  const lengths = session.bodies.map((body) => Buffer.byteLength(body));
  assert.ok(lengths.length < 8 && lengths.every((length) => length <= 300) && lengths.at(-1) === 300, `${lengths}`);
}));

test("after a minute a WebSocket takes over, and nothing is lost or comes twice", scripted(async (parts) => {
  const { gateway, server, clock } = parts;
  const peer = await polled(parts);
  const { subscription, until } = subscribe(gateway, "news");
  await peer.subscribed("e1", 4);
  peer.publication("news", 5);
  await until(2);
  const socket = await tried(parts, 60_000);
  assert.equal(gateway.transport, "poll");
  const moved = state(gateway, "connected");
  socket.welcome({ client: "n2.b.1", node: "n2.b" });
  assert.equal((await moved).transport, "websocket");
  assert.deepEqual([gateway.transport, gateway.client], ["websocket", "n2.b.1"]);
  peer.publication("news", 6);
  const { recover } = await socket.subscribed("e1", 6, { recovered: true, publications: items(6) });
  assert.deepEqual(recover, { epoch: "e1", offset: 5 });
  socket.publication("news", 7);
  assert.deepEqual(await until(5), [{ subscribed: false }, 5, { subscribed: true }, 6, 7]);
  assert.equal(subscription.position.offset, 7);
  assert.deepEqual(server.polls.seen, [], "whoever is subscribed there is not gone before he is here");
  clock.advance(3_000);
  assert.equal(await peer.closed, 1000);
  assert.deepEqual(server.polls.seen, ["DELETE 204"]);
  assert.equal(gateway.state, "connected");
}));

test("the WebSocket waits for what is unanswered, and what is published meanwhile waits for it", async () => {
  const heard = new EventEmitter();
  const onFrame = (_, text) => heard.emit(JSON.parse(text).type);
  await scripted({ onFrame }, async (parts) => {
    const { gateway } = parts;
    const peer = await polled(parts);
    parts.clock.advance(59_000);
    const first = gateway.publish("news", 1);
    const { id } = await peer.expect("publish");
    const socket = await tried(parts, 1_000);
    const welcome = once(heard, "welcome");
    socket.welcome();
    await welcome;
    const second = gateway.publish("news", 2);
    assert.equal(gateway.transport, "poll");
    const moved = state(gateway, "connected");
    peer.send({ type: "published", id, channel: "news", epoch: "e1", offset: 1 });
    assert.deepEqual(await first, { epoch: "e1", offset: 1 });
    assert.equal((await moved).transport, "websocket");
    assert.equal((await socket.answer("publish", { type: "published", epoch: "e1", offset: 2 })).data, 2);
    await second;
  })();
});

test("a WebSocket that fails again is tried after twice as long, up to ten minutes", async () => {
  const { tries, WebSocket } = failing();
  await scripted({ WebSocket }, async (parts) => {
    await polled(parts);
    for (const minutes of [1, 2, 4, 8, 10, 10]) {
      const before = tries.count;
      parts.clock.advance(minutes * 60_000 - 1);
      await settled();
      assert.equal(tries.count, before);
      parts.clock.advance(1);
      await settled();
      assert.equal(tries.count, before + 1);
    }
    assert.deepEqual([parts.gateway.state, parts.gateway.transport], ["connected", "poll"]);
  })();
});

test("a session that ends while a WebSocket is tried leaves the way to it", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await polled(parts);
  const { until } = subscribe(gateway, "news");
  await peer.subscribed("e1", 4);
  await until(1);
  const socket = await tried(parts, 60_000);
  const connecting = state(gateway, "connecting");
  peer.close(4008, "replaced by a newer session");
  await connecting;
  const moved = state(gateway, "connected");
  socket.welcome();
  await moved;
  assert.deepEqual((await socket.expect("subscribe")).recover, { epoch: "e1", offset: 4 });
}));

test("whoever closes or leaves the page ends the session", scripted(async (parts) => {
  const { gateway, server } = parts;
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  try {
    const peer = await polled(parts);
    page.dispatchEvent(new Event("pagehide"));
    await peer.closed;
    const waiting = state(gateway, "waiting");
    peer.terminate();
    parts.clock.advance((await waiting).delayMs);
    const next = await welcomedPoll(parts, state(gateway, "connected"));
    gateway.close();
    await next.closed;
    page.dispatchEvent(new Event("pagehide"));
    assert.deepEqual(server.polls.seen.filter((asked) => asked.startsWith("DELETE")), ["DELETE 204", "DELETE 204"]);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
}));
