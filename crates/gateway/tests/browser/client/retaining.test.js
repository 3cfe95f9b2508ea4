/** Retained publications: the state at the beginning, what follows, and after a reconnect. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { broken, connected, outcome, scripted, subscribe } from "./support.js";

const entry = (offset, retain, data = offset) => ({ offset, time: 1, retain, data });

/** A subscription to `news` that keeps each state it is told, as keys and offsets. */
function follow(gateway, more = {}) {
  const states = [];
  const onState = (state, change) =>
    states.push([Object.fromEntries([...state].map(([key, { offset }]) => [key, offset])), change?.offset]);
  return { states, ...subscribe(gateway, "news", { onState, ...more }) };
}

test("the state is asked for only by those who want it, and told after the subscription", scripted(async (parts) => {
  const peer = await connected(parts);
  const order = [];
  const { states, until } = follow(parts.gateway, {
    onSubscribed: () => order.push("subscribed"),
    onState: (state) => order.push([...state.values()]),
  });
  const command = await peer.subscribed("e1", 4, { state: [entry(2, "a"), entry(4, "b")] });
  assert.equal("state" in command, false);
  peer.publication("news", 5);
  await until(1);
  const channel = "news";
  assert.deepEqual(order, ["subscribed", [{ ...entry(2, "a"), channel }, { ...entry(4, "b"), channel }]]);
  assert.deepEqual(states, []);
}));

test("what is retained changes it, null takes a key out, and all else leaves it as it is", scripted(async (parts) => {
  const peer = await connected(parts);
  const { states, until } = follow(parts.gateway);
  await peer.subscribed("e1", 4, { state: [entry(2, "a")] });
  const push = (publication) => peer.send({ type: "publication", channel: "news", ...publication });
  for (const publication of [entry(5, "b"), entry(6), entry(7, "a", null), entry(8, "gone", null)]) push(publication);
  assert.deepEqual(await until(5), [{ subscribed: false }, 5, 6, null, null]);
  assert.deepEqual(states, [[{ a: 2 }, undefined], [{ a: 2, b: 5 }, 5], [{ b: 5 }, 7]]);
}));

test("after a reconnect the state is the new one, and what is recovered does not undo it", scripted(async (parts) => {
  const peer = await connected(parts);
  const { states, until } = follow(parts.gateway);
  await peer.subscribed("e1", 4, { state: [entry(2, "a"), entry(3, "c")] });
  const next = await broken(parts, peer);
  const publications = [entry(5, "a"), entry(6, "b"), entry(7, "a", null)];
  const state = [entry(6, "b"), entry(9, "a")];
  await next.subscribed("e1", 7, { recovered: true, publications, state });
  next.send({ type: "publication", channel: "news", ...entry(8, "a", null) });
  next.send({ type: "publication", channel: "news", ...entry(9, "a") });
  await until(7);
  assert.deepEqual(states, [[{ a: 2, c: 3 }, undefined], [{ b: 6, a: 9 }, undefined]]);
  const last = await broken(parts, next);
  await last.subscribed("e2", 0);
  await until(8);
  assert.deepEqual(states.at(-1), [{}, undefined], "there is none any more");
}));

test("an own publication that is not echoed is in the state that a reconnect brings", scripted(async (parts) => {
  const peer = await connected(parts);
  const { states, heard, until } = follow(parts.gateway);
  await peer.subscribed("e1", 4);
  const published = parts.gateway.publish("news", 6, { retain: "mine", echo: false });
  const command = await peer.answer("publish", { type: "published", epoch: "e1", offset: 6 });
  assert.deepEqual([command.retain, command.echo], ["mine", false]);
  await published;
  const next = await broken(parts, peer);
  const publications = [entry(5), entry(6, "mine"), entry(7)];
  await next.subscribed("e1", 7, { recovered: true, publications, state: [entry(6, "mine")] });
  await until(4);
  assert.deepEqual(heard, [{ subscribed: false }, { subscribed: true }, 5, 7]);
  assert.deepEqual(states, [[{}, undefined], [{ mine: 6 }, undefined]]);
}));

test("a key to retain under is checked like all names", scripted(async ({ gateway }) => {
  await assert.rejects(gateway.publish("news", 1, { retain: "" }), TypeError);
  await assert.rejects(gateway.publish("news", 1, { retain: "x".repeat(256) }), TypeError);
  assert.equal(await outcome(gateway.publish("news", 1, { retain: "x".repeat(255) })), "closed");
}));
