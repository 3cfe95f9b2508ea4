/** Subscribing: order, once each, refusals, and who is there. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { broken, connected, items, scripted, subscribe } from "./support.js";

test("publications come in order, and a repeated one comes once", scripted(async (parts) => {
  const peer = await connected(parts);
  const { subscription, until } = subscribe(parts.gateway, "news");
  assert.equal(subscription.state, "subscribing");
  const command = await peer.subscribed("e1", 4);
  assert.deepEqual(command, { type: "subscribe", id: 1, channel: "news", state: false });
  for (const offset of [5, 6, 6, 5, 7]) peer.publication("news", offset);
  assert.deepEqual(await until(4), [{ subscribed: false }, 5, 6, 7]);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 7 });
}));

test("a publication arrives whole", scripted(async (parts) => {
  const peer = await connected(parts);
  const got = new Promise((onPublication) => subscribe(parts.gateway, "news", { onPublication }));
  await peer.subscribed("e1", 0);
  const rest = { time: 17, from: { client: "n2.c.9", user: "ann" }, event: "note", encoding: "base64", data: "AP/7" };
  peer.send({ type: "publication", channel: "news", offset: 1, ...rest });
  assert.deepEqual(await got, { channel: "news", offset: 1, ...rest });
}));

test("volatile publications come as they are and move nothing", scripted(async (parts) => {
  const peer = await connected(parts);
  const { subscription, until } = subscribe(parts.gateway, "news");
  await peer.subscribed("e1", 4);
  peer.publication("news", undefined, "typing");
  assert.deepEqual(await until(2), [{ subscribed: false }, "typing"]);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 4 });
}));

test("in a channel without history there is no position and no gap", scripted(async (parts) => {
  const peer = await connected(parts);
  const { subscription, until } = subscribe(parts.gateway, "cursors");
  await peer.subscribed();
  peer.publication("cursors", undefined, "a");
  await until(2);
  assert.equal(subscription.position, null);
  const next = await broken(parts, peer);
  assert.equal((await next.subscribed()).recover, undefined);
  next.publication("cursors", undefined, "b");
  assert.deepEqual(await until(4), [{ subscribed: false }, "a", { subscribed: false }, "b"]);
}));

test("who comes and goes is told, and who is there", scripted(async (parts) => {
  const peer = await connected(parts);
  const members = [{ user: "ann", clients: 1 }];
  let info;
  const { until } = subscribe(parts.gateway, "news", { members: true, onSubscribed: (told) => (info = told) });
  const command = await peer.subscribed("e1", 4, { members, clients: 1, users: 1 });
  assert.equal(command.members, true);
  peer.send({ type: "join", channel: "news", member: { user: "ben", clients: 1 } });
  peer.send({ type: "leave", channel: "news", member: { user: "ann", clients: 0 }, cause: "lost" });
  assert.deepEqual(await until(2), [{ join: "ben" }, { leave: "ann", cause: "lost" }]);
  assert.deepEqual([info.members, info.clients, info.users], [members, 1, 1]);
}));

test("a refusal that passes is asked again when it has passed", scripted(async (parts) => {
  const { gateway, clock } = parts;
  const peer = await connected(parts);
  const { subscription, until } = subscribe(gateway, "news");
  const refused = { type: "error", code: "rate_limited", message: "too fast", temporary: true };
  await peer.answer("subscribe", { ...refused, retry_after_ms: 250 });
  const ping = gateway.ping();
  await peer.answer("ping", { type: "pong" });
  await ping;
  assert.equal(subscription.state, "waiting");
  clock.advance(249);
  assert.equal(subscription.state, "waiting");
  clock.advance(1);
  await peer.subscribed("e1", 4);
  assert.deepEqual(await until(1), [{ subscribed: false }]);
}));

test("a refusal for good ends it, and the channel may be tried anew", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  const { subscription, until } = subscribe(gateway, "news");
  await peer.answer("subscribe", { type: "error", code: "permission_denied", message: "no", temporary: false });
  assert.deepEqual(await until(1), [{ end: "permission_denied" }]);
  assert.equal(subscription.state, "ended");
  subscribe(gateway, "news");
  await peer.expect("subscribe");
}));

test("a subscription that the gateway ends is over", scripted(async (parts) => {
  const peer = await connected(parts);
  const { until } = subscribe(parts.gateway, "news");
  subscribe(parts.gateway, "other");
  await peer.subscribed("e1", 4);
  await peer.subscribed("e1", 4);
  peer.send({ type: "unsubscribed", channel: "news", code: "permission_denied", reason: "taken back" });
  peer.publication("news", 5);
  assert.deepEqual(await until(2), [{ subscribed: false }, { end: "permission_denied" }]);
  const next = await broken(parts, peer);
  assert.equal((await next.expect("subscribe")).channel, "other");
}));

test("after unsubscribing nothing is heard, and a new subscription begins afresh", scripted(async (parts) => {
  const { gateway } = parts;
  const peer = await connected(parts);
  const first = subscribe(gateway, "news");
  await peer.subscribed("e1", 4);
  await first.until(1);
  first.subscription.unsubscribe();
  const second = subscribe(gateway, "news");
  await peer.expect("unsubscribe");
  // Both on their way before the gateway read that.
  peer.publication("news", 5);
  peer.publication("news", 6);
  assert.equal((await peer.subscribed("e1", 6)).recover, undefined);
  peer.publication("news", 7);
  assert.deepEqual(await second.until(2), [{ subscribed: false }, 7]);
  assert.deepEqual(first.heard, [{ subscribed: false }]);
}));

test("a handler may unsubscribe in the middle of a recovery", scripted(async (parts) => {
  const peer = await connected(parts);
  const seen = [];
  const { subscription } = subscribe(parts.gateway, "news", {
    recover: { epoch: "e1", offset: 0 },
    onPublication: ({ data }) => {
      seen.push(data);
      subscription.unsubscribe();
    },
  });
  await peer.subscribed("e1", 3, { recovered: true, publications: items(1, 2, 3) });
  await peer.expect("unsubscribe");
  assert.deepEqual(seen, [1]);
}));

test("a handler that fails is told of and disturbs nothing", scripted(async (parts) => {
  const told = [];
  globalThis.reportError = (error) => told.push(error.message);
  try {
    const peer = await connected(parts);
    const done = new Promise((resolve) => {
      subscribe(parts.gateway, "news", {
        onPublication: ({ data }) => {
          if (data === 2) return resolve();
          throw new Error(`cannot show ${data}`);
        },
      });
    });
    await peer.subscribed("e1", 0);
    peer.publication("news", 1);
    peer.publication("news", 2);
    await done;
    assert.deepEqual(told, ["cannot show 1"]);
  } finally {
    delete globalThis.reportError;
  }
}));

test("a channel has one subscription at a time and a possible name", scripted(async ({ gateway }) => {
  subscribe(gateway, "news");
  assert.throws(() => gateway.subscribe("news"), { code: "already_subscribed" });
  for (const name of ["", "a b", "a,b", "{a}", "a*", "@a", "$a", "a\n", "é".repeat(128), 7]) {
    assert.throws(() => gateway.subscribe(name), TypeError, String(name));
  }
  gateway.subscribe("räksmörgås:@1$");
}));

test("types it does not know are passed over", scripted(async (parts) => {
  const peer = await connected(parts);
  const { until } = subscribe(parts.gateway, "news");
  peer.send({ type: "weather", channel: "news", offset: 99 });
  peer.send([]);
  peer.send("null");
  await peer.subscribed("e1", 4);
  peer.send({ type: "weather", channel: "news", offset: 99 });
  peer.publication("news", 5);
  assert.deepEqual(await until(2), [{ subscribed: false }, 5]);
}));

test("a subscription's own token is asked for at each attempt, and again when it has ended", scripted(async (parts) => {
  const peer = await connected(parts);
  const asked = [];
  const getToken = async (channel) => `t${asked.push(channel)}`;
  const { subscription, until } = subscribe(parts.gateway, "news", { getToken });
  assert.equal((await peer.subscribed("e1", 4)).token, "t1");
  await until(1);
  peer.send({ type: "unsubscribed", channel: "news", code: "unauthenticated", reason: "the token has ended" });
  const ping = parts.gateway.ping();
  await peer.answer("ping", { type: "pong" });
  await ping;
  assert.equal(subscription.state, "waiting");
  parts.clock.advance(500);
  const again = await peer.subscribed("e1", 5, { recovered: true });
  assert.deepEqual([again.token, again.recover], ["t2", { epoch: "e1", offset: 4 }]);
  const next = await broken(parts, peer);
  assert.equal((await next.subscribed("e1", 5, { recovered: true })).token, "t3");
  assert.deepEqual(asked, ["news", "news", "news"]);
}));

test("without a token of its own a subscription ends, and one that was dropped meanwhile asks nothing", scripted(async (parts) => {
  const peer = await connected(parts);
  const getToken = () => Promise.reject(new Error("logged out"));
  const { until } = subscribe(parts.gateway, "news", { getToken });
  assert.deepEqual(await until(1), [{ end: "unauthenticated" }]);
  let give;
  const { subscription } = subscribe(parts.gateway, "late", { getToken: () => new Promise((given) => (give = given)) });
  await Promise.resolve();
  subscription.unsubscribe();
  await peer.answer("unsubscribe", { type: "unsubscribed" });
  give("t");
  const ping = parts.gateway.ping();
  await peer.answer("ping", { type: "pong" });
  await ping;
}));
