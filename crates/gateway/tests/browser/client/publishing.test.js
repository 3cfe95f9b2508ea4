/** Publications: answered, bounded, and repeated where that is harmless. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { broken, connected, outcome, scripted, state, subscribe } from "./support.js";

const refusal = (code, more) => ({ type: "error", code, message: "why", temporary: true, ...more });

test("a publication is answered with its position", scripted(async (parts) => {
  const peer = await connected(parts);
  const published = parts.gateway.publish("news", { text: "hello" }, { event: "note", key: "k1", echo: false });
  const command = await peer.answer("publish", { type: "published", epoch: "e1", offset: 5 });
  const fields = { channel: "news", data: { text: "hello" }, event: "note", key: "k1", echo: false };
  assert.deepEqual(command, { type: "publish", id: 1, ...fields });
  assert.deepEqual(await published, { epoch: "e1", offset: 5 });
  assert.deepEqual(parts.gateway.queued, { messages: 0, bytes: 0 });
}));

test("in a channel without history it is answered without one", scripted(async (parts) => {
  const peer = await connected(parts);
  const published = parts.gateway.publish("cursors", null);
  const command = await peer.answer("publish", { type: "published" });
  assert.equal(command.data, null);
  assert.equal(command.key, undefined);
  assert.deepEqual(await published, {});
}));

test("what is published while away waits, and goes in order after the subscriptions", scripted(async (parts) => {
  const { gateway, server } = parts;
  subscribe(gateway, "news");
  gateway.connect();
  const published = [1, 2, 3].map((data) => gateway.publish("news", data));
  assert.equal(gateway.queued.messages, 3);
  const peer = await server.welcomed();
  await peer.subscribed("e1", 0);
  for (const data of [1, 2, 3]) {
    const command = await peer.answer("publish", { type: "published", epoch: "e1", offset: data });
    assert.equal(command.data, data);
  }
  assert.deepEqual((await Promise.all(published)).map(({ offset }) => offset), [1, 2, 3]);
}));

test("data is what it was at the call", scripted(async (parts) => {
  parts.gateway.connect();
  const data = { text: "before" };
  outcome(parts.gateway.publish("news", data));
  data.text = "after";
  const peer = await parts.server.welcomed();
  assert.deepEqual((await peer.expect("publish")).data, { text: "before" });
}));

test("as many wait as may, and the next is refused", scripted({ queueMessages: 2 }, async ({ gateway }) => {
  gateway.connect();
  const first = [outcome(gateway.publish("news", 1)), outcome(gateway.publish("news", 2))];
  await assert.rejects(gateway.publish("news", 3), { code: "queue_full", temporary: true });
  gateway.close();
  assert.deepEqual(await Promise.all(first), ["closed", "closed"]);
}));

test("as many bytes wait as may", scripted({ queueBytes: 300 }, async ({ gateway }) => {
  gateway.connect();
  outcome(gateway.publish("news", "é".repeat(100)));
  assert.ok(gateway.queued.bytes > 200 && gateway.queued.bytes < 300);
  await assert.rejects(gateway.publish("news", "x".repeat(100)), { code: "queue_full" });
}));

test("the gateway is not sent more than it answers", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  const published = Array.from({ length: 65 }, (_, data) => outcome(gateway.publish("news", data)));
  const first = await peer.expect("publish");
  for (let count = 1; count < 64; count += 1) await peer.expect("publish");
  const ping = gateway.ping();
  await peer.answer("ping", { type: "pong" });
  await ping;
  peer.send({ type: "published", id: first.id, channel: "news", epoch: "e1", offset: 1 });
  assert.equal((await peer.expect("publish")).data, 64);
  assert.deepEqual(await published[0], { epoch: "e1", offset: 1 });
}));

test("what was never sent in its time is not sent later", scripted(async (parts) => {
  const { gateway, clock, server } = parts;
  gateway.connect();
  const late = outcome(gateway.publish("news", "late", { timeoutMs: 5000 }));
  const patient = outcome(gateway.publish("news", "patient"));
  clock.advance(5000);
  assert.equal(await late, "timeout");
  const peer = await server.welcomed();
  assert.equal((await peer.answer("publish", { type: "published" })).data, "patient");
  await patient;
}));

test("what was sent and not answered in its time may have been delivered", scripted(async (parts) => {
  const peer = await connected(parts);
  const published = outcome(parts.gateway.publish("news", 1, { timeoutMs: 5000 }));
  await peer.expect("publish");
  parts.clock.advance(5000);
  assert.equal(await published, "unknown_outcome");
}));

test("with a key it is repeated after the connection broke, at its place", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  const published = [1, 2].map((data) => gateway.publish("news", data, { key: `k${data}` }));
  await peer.expect("publish");
  await peer.expect("publish");
  const waiting = state(gateway, "waiting");
  peer.terminate();
  const { delayMs } = await waiting;
  published.push(gateway.publish("news", 3));
  parts.clock.advance(delayMs);
  const next = await parts.server.welcomed();
  for (const data of [1, 2, 3]) {
    const command = await next.answer("publish", { type: "published", epoch: "e1", offset: data });
    assert.deepEqual([command.data, command.key], [data, data === 3 ? undefined : `k${data}`]);
  }
  assert.deepEqual((await Promise.all(published)).map(({ offset }) => offset), [1, 2, 3]);
}));

test("without a key it is not repeated, and its caller knows", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  const published = outcome(gateway.publish("news", "risky"));
  await peer.expect("publish");
  const next = await broken(parts, peer);
  assert.equal(await published, "unknown_outcome");
  outcome(gateway.publish("news", "next"));
  assert.equal((await next.expect("publish")).data, "next");
}));

test("an unknown outcome is repeated with the same key, and only with one", scripted(async (parts) => {
  const { gateway, clock } = parts;
  const peer = await connected(parts);
  const bare = outcome(gateway.publish("news", "bare"));
  await peer.answer("publish", refusal("unknown_outcome"));
  assert.equal(await bare, "unknown_outcome");
  const keyed = gateway.publish("news", "keyed", { key: "k1" });
  await peer.answer("publish", refusal("unknown_outcome", { retry_after_ms: 100 }));
  const ping = gateway.ping();
  await peer.answer("ping", { type: "pong" });
  await ping;
  clock.advance(100);
  assert.equal((await peer.answer("publish", { type: "published", epoch: "e1", offset: 1 })).key, "k1");
  assert.deepEqual(await keyed, { epoch: "e1", offset: 1 });
}));

test("a repeat that is refused leaves the first in doubt", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  const published = gateway.publish("news", 1, { key: "k1" });
  await peer.expect("publish");
  const next = await broken(parts, peer);
  await next.answer("publish", refusal("permission_denied", { temporary: false }));
  await assert.rejects(published, { code: "unknown_outcome" });
}));

test("no repeat is made once its key may be forgotten", scripted(async (parts) => {
  const { gateway, clock, server } = parts;
  const peer = await connected(parts);
  const published = outcome(gateway.publish("news", 1, { key: "k1", timeoutMs: 3_600_000 }));
  await peer.expect("publish");
  const waiting = state(gateway, "waiting");
  peer.send({ type: "reconnect", after_ms: 240_001, reason: "draining" });
  peer.close(4200);
  clock.advance((await waiting).delayMs);
  await server.welcomed();
  assert.equal(await published, "unknown_outcome");
}));

test("a refusal that passes is repeated when it has passed, and the others wait behind it", scripted(async (parts) => {
  const { gateway, clock } = parts;
  const peer = await connected(parts);
  const first = gateway.publish("news", 1);
  await peer.answer("publish", refusal("rate_limited", { retry_after_ms: 250 }));
  const ping = gateway.ping();
  await peer.answer("ping", { type: "pong" });
  await ping;
  const second = gateway.publish("news", 2);
  clock.advance(249);
  assert.equal(gateway.queued.messages, 2);
  clock.advance(1);
  for (const data of [1, 2]) {
    const command = await peer.answer("publish", { type: "published", epoch: "e1", offset: data });
    assert.equal(command.data, data);
  }
  assert.deepEqual([(await first).offset, (await second).offset], [1, 2]);
}));

test("publications refused for the moment are repeated in the order of their calls", scripted(async (parts) => {
  const { gateway, clock } = parts;
  const peer = await connected(parts);
  const published = [1, 2].map((data) => gateway.publish("news", data));
  const [first, second] = [await peer.expect("publish"), await peer.expect("publish")];
  for (const { id } of [second, first]) peer.send({ ...refusal("rate_limited", { retry_after_ms: 250 }), id });
  const ping = gateway.ping();
  await peer.answer("ping", { type: "pong" });
  await ping;
  clock.advance(250);
  for (const data of [1, 2]) assert.equal((await peer.answer("publish", { type: "published" })).data, data);
  await Promise.all(published);
}));

test("a refusal that passes too late is one", scripted(async (parts) => {
  const { gateway, clock } = parts;
  const peer = await connected(parts);
  const published = outcome(gateway.publish("news", 1, { timeoutMs: 1000 }));
  await peer.answer("publish", refusal("unavailable", { retry_after_ms: 5000 }));
  const ping = gateway.ping();
  await peer.answer("ping", { type: "pong" });
  await ping;
  clock.advance(1000);
  assert.equal(await published, "timeout", "it was refused: it has not been delivered");
}));

test("a refusal for good is the caller's", scripted(async (parts) => {
  const peer = await connected(parts);
  const published = parts.gateway.publish("news", 1);
  await peer.answer("publish", refusal("permission_denied", { temporary: false }));
  await assert.rejects(published, { code: "permission_denied", message: "why", temporary: false });
}));

test("with `keys` each publication gets its own, but for volatile ones", scripted({ keys: true }, async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  for (const options of [{}, {}, { key: "mine" }, { volatile: true }]) outcome(gateway.publish("news", 1, options));
  const commands = [];
  for (let count = 0; count < 4; count += 1) commands.push(await peer.expect("publish"));
  const keys = commands.sort((a, b) => a.id - b.id).map(({ key }) => key);
  assert.match(keys[0], /^\d+-\d+-\d+$/);
  assert.notEqual(keys[0], keys[1]);
  assert.deepEqual(keys.slice(2), ["mine", undefined]);
}));

test("volatile publications neither wait nor are repeated", scripted(async (parts) => {
  const { gateway } = parts;
  gateway.connect();
  await assert.rejects(gateway.publish("news", 1, { volatile: true }), { code: "offline" });
  const peer = await parts.server.welcomed();
  await gateway.connect();
  const broke = outcome(gateway.publish("news", 2, { volatile: true }));
  assert.equal((await peer.expect("publish")).volatile, true);
  const next = await broken(parts, peer);
  assert.equal(await broke, "connection_lost");
  const sent = gateway.publish("news", 3, { volatile: true });
  assert.equal((await next.answer("publish", { type: "published" })).data, 3);
  assert.deepEqual(await sent, {});
}));

test("what is too large for a message is not sent, for that would end the connection", scripted(async (parts) => {
  const { gateway } = parts;
  gateway.connect();
  const early = outcome(gateway.publish("news", "é".repeat(500)));
  const peer = await parts.server.welcomed({ max_message_bytes: 1000 });
  assert.equal(await early, "too_large");
  await assert.rejects(gateway.publish("news", "é".repeat(500)), { code: "too_large" });
  const small = gateway.publish("news", "é".repeat(400));
  await peer.answer("publish", { type: "published" });
  await small;
}));

test("what no gateway understands is not sent, for too many of those end the connection", scripted(async (parts) => {
  const { gateway } = parts;
  gateway.connect();
  const cut = "👍".slice(0, 1);
  for (const data of [undefined, () => {}, cut, { a: [`\\${cut}`] }]) {
    await assert.rejects(gateway.publish("news", data), TypeError);
  }
  await assert.rejects(gateway.publish("a b", 1), TypeError);
  await assert.rejects(gateway.publish("news", 1, { key: "" }), TypeError);
  await assert.rejects(gateway.publish("news", 1, { event: "x".repeat(256) }), TypeError);
  for (const data of ["👍", "\\ud83d", '"\\ud83d"', null, 0]) outcome(gateway.publish("news", data));
  assert.equal(gateway.queued.messages, 5);
}));

test("a closed client publishes nothing", scripted(async ({ gateway }) => {
  await assert.rejects(gateway.publish("news", 1), { code: "closed" });
}));

test("when the gateway says to stay away, what waits is refused", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  const sent = outcome(gateway.publish("news", 1, { key: "k1" }));
  await peer.expect("publish");
  peer.close(4009, "revoked");
  assert.equal(await sent, "unknown_outcome");
  assert.equal(gateway.queued.bytes, 0);
}));
