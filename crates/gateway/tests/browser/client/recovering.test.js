/** Coming back to a channel: what was missed, once and in order, or word that some are lost. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { broken, connected, items, scripted, state, subscribe } from "./support.js";

test("it comes back with its last position and goes through what it missed", scripted(async (parts) => {
  const peer = await connected(parts);
  const { subscription, until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 4);
  peer.publication("news", 5);
  await until(2);
  const next = await broken(parts, peer);
  const publications = items(4, 5, 6, 7);
  const { recover } = await next.subscribed("e1", 7, { recovered: true, publications });
  assert.deepEqual(recover, { epoch: "e1", offset: 5 });
  for (const offset of [6, 7, 8]) next.publication("news", offset);
  assert.deepEqual(await until(6), [{ subscribed: false }, 5, { subscribed: true }, 6, 7, 8]);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 8 });
}));

test("a connection that broke during the recovery loses nothing", scripted(async (parts) => {
  const peer = await connected(parts);
  const { until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 4);
  await until(1);
  const second = await broken(parts, peer);
  await second.expect("subscribe");
  const third = await broken(parts, second);
  const publications = items(5, 6);
  const { recover } = await third.subscribed("e1", 6, { recovered: true, publications });
  assert.deepEqual(recover, { epoch: "e1", offset: 4 });
  assert.deepEqual(await until(4), [{ subscribed: false }, { subscribed: true }, 5, 6]);
}));

test("a channel that was quiet is recovered from where it was", scripted(async (parts) => {
  const peer = await connected(parts);
  const { until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 4);
  await until(1);
  const { recover } = await (await broken(parts, peer)).expect("subscribe");
  assert.deepEqual(recover, { epoch: "e1", offset: 4 });
}));

test("what was forgotten meanwhile is told once, before what is left", scripted(async (parts) => {
  const peer = await connected(parts);
  const { until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 4);
  await until(1);
  const next = await broken(parts, peer);
  await next.subscribed("e1", 9, { recovered: false, publications: items(8, 9) });
  next.publication("news", 10);
  const gap = { from: 5, to: 7, epoch: "e1", cause: "not_recovered" };
  assert.deepEqual(await until(6), [{ subscribed: false }, { subscribed: false }, { gap }, 8, 9, 10]);
}));

test("what is missing at the end of a recovery is not waited for", scripted(async (parts) => {
  const peer = await connected(parts);
  const { subscription, until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 4);
  await until(1);
  const next = await broken(parts, peer);
  await next.subscribed("e1", 7, { recovered: false, publications: items(5) });
  const gap = { from: 6, to: 7, epoch: "e1", cause: "not_recovered" };
  assert.deepEqual(await until(4), [{ subscribed: false }, { subscribed: false }, { gap }, 5]);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 7 });
}));

test("another epoch is a gap, and its offsets count anew", scripted(async (parts) => {
  const peer = await connected(parts);
  const { subscription, until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 40);
  await until(1);
  const next = await broken(parts, peer);
  await next.subscribed("e2", 2, { recovered: false, publications: items(1, 2) });
  next.publication("news", 2);
  next.publication("news", 3);
  const gap = { epoch: "e2", cause: "not_recovered" };
  assert.deepEqual(await until(6), [{ subscribed: false }, { subscribed: false }, { gap }, 1, 2, 3]);
  assert.deepEqual(subscription.position, { epoch: "e2", offset: 3 });
}));

test("a history that went back in the same epoch counts the same offsets again", scripted(async (parts) => {
  const peer = await connected(parts);
  const { subscription, until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 40);
  await until(1);
  const next = await broken(parts, peer);
  await next.subscribed("e1", 38, { recovered: false, publications: items(37, 38) });
  next.publication("news", 39);
  const gap = { epoch: "e1", cause: "not_recovered" };
  assert.deepEqual(await until(6), [{ subscribed: false }, { subscribed: false }, { gap }, 37, 38, 39]);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 39 });
}));

test("the first subscription is no gap", scripted(async (parts) => {
  const peer = await connected(parts);
  const { until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 40);
  peer.publication("news", 41);
  assert.deepEqual(await until(2), [{ subscribed: false }, 41]);
}));

test("a position from before this page is recovered from, and may be too old", scripted(async (parts) => {
  const peer = await connected(parts);
  const recover = { epoch: "e1", offset: 3 };
  const { until } = subscribe(parts.gateway, "news", { recover });
  const command = await peer.subscribed("e1", 5, { recovered: false, publications: items(5) });
  assert.deepEqual(command.recover, recover);
  const gap = { from: 4, to: 4, epoch: "e1", cause: "not_recovered" };
  assert.deepEqual(await until(3), [{ subscribed: false }, { gap }, 5]);
  assert.deepEqual(recover, { epoch: "e1", offset: 3 }, "the caller's own object stays as it is");
}));

test("a gap says which are lost, and it goes on behind them", scripted(async (parts) => {
  const peer = await connected(parts);
  const { subscription, until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 41);
  peer.send({ type: "gap", channel: "news", from: 42, to: 57, epoch: "e1" });
  assert.deepEqual(await until(2), [{ subscribed: false }, { gap: { from: 42, to: 57, epoch: "e1", cause: "gap" } }]);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 57 });
  peer.publication("news", 58);
  await until(3);
  const { recover } = await (await broken(parts, peer)).expect("subscribe");
  assert.deepEqual(recover, { epoch: "e1", offset: 58 });
}));

test("after a gap into another epoch nothing of that one counts as seen", scripted(async (parts) => {
  const peer = await connected(parts);
  const { until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 41);
  peer.send({ type: "gap", channel: "news", epoch: "e2" });
  await until(2);
  const next = await broken(parts, peer);
  const { recover } = await next.subscribed("e2", 1, { recovered: true, publications: items(1) });
  assert.deepEqual(recover, { epoch: "e2", offset: 0 });
  assert.deepEqual((await until(4)).slice(2), [{ subscribed: true }, 1]);
}));

test("after a gap of unknown size the next publication is the position", scripted(async (parts) => {
  const peer = await connected(parts);
  const { subscription, until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 41);
  peer.send({ type: "gap", channel: "news", epoch: "e1" });
  peer.publication("news", 50);
  assert.equal((await until(3))[2], 50);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 50 });
}));

test("own publications that were not to come back do not come by a recovery", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  const { subscription, until } = subscribe(gateway, "news");
  await peer.subscribed("e1", 4);
  await until(1);
  const mine = [gateway.publish("news", "mine", { echo: false }), gateway.publish("news", "mine", { echo: false })];
  await peer.answer("publish", { type: "published", epoch: "e1", offset: 5 });
  await peer.answer("publish", { type: "published", epoch: "e1", offset: 7 });
  await Promise.all(mine);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 5 }, "6 is somebody else's and still to come");
  const next = await broken(parts, peer);
  await next.subscribed("e1", 8, { recovered: true, publications: items(6, 7, 8) });
  assert.deepEqual(await until(4), [{ subscribed: false }, { subscribed: true }, 6, 8]);
}));

test("nor do they come by one that begins with them", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  const { until } = subscribe(gateway, "news");
  await peer.subscribed("e1", 4);
  const mine = gateway.publish("news", "mine", { echo: false });
  await peer.answer("publish", { type: "published", epoch: "e1", offset: 7 });
  await mine;
  const next = await broken(parts, peer);
  await next.subscribed("e1", 8, { recovered: false, publications: items(7, 8) });
  const gap = { from: 5, to: 6, epoch: "e1", cause: "not_recovered" };
  assert.deepEqual(await until(4), [{ subscribed: false }, { subscribed: false }, { gap }, 8]);
}));

test("one that the gateway ends for the moment is recovered", scripted(async (parts) => {
  const { clock } = parts;
  const peer = await connected(parts);
  const { until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 4);
  peer.publication("news", 5);
  await until(2);
  peer.send({ type: "unsubscribed", channel: "news", code: "unavailable", reason: "no broker" });
  const ping = parts.gateway.ping();
  await peer.answer("ping", { type: "pong" });
  await ping;
  clock.advance(250);
  const { recover } = await peer.subscribed("e1", 6, { recovered: true, publications: items(6) });
  assert.deepEqual(recover, { epoch: "e1", offset: 5 });
  assert.equal((await until(4))[3], 6);
}));

test("a message that is not JSON may have been a publication: it comes back for it", scripted(async (parts) => {
  const { gateway, clock, server } = parts;
  const peer = await connected(parts);
  const { until } = subscribe(gateway, "news");
  await peer.subscribed("e1", 4);
  await until(1);
  const waiting = state(gateway, "waiting");
  peer.send('{"type":"publication",');
  clock.advance((await waiting).delayMs);
  const { recover } = await (await server.welcomed()).expect("subscribe");
  assert.deepEqual(recover, { epoch: "e1", offset: 4 });
}));

test("after close and connect it goes on where it was", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  const { until } = subscribe(gateway, "news");
  await peer.subscribed("e1", 4);
  await until(1);
  gateway.close();
  const { recover } = await (await connected(parts)).expect("subscribe");
  assert.deepEqual(recover, { epoch: "e1", offset: 4 });
}));
