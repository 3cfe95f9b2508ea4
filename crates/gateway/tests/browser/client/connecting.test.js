/** Connecting, staying away, coming back, and noticing silence. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { connected, scripted, state } from "./support.js";

/** No other way is tried. */
const WEBSOCKET = { transports: ["websocket"] };

test("it offers the subprotocol and is connected once it is welcome", scripted(async ({ server, gateway }) => {
  assert.equal(gateway.state, "closed");
  const connecting = gateway.connect();
  assert.equal(gateway.state, "connecting");
  const peer = await server.next();
  assert.deepEqual(peer.protocols, ["gateway.v1.json"]);
  peer.welcome();
  await connecting;
  assert.equal(gateway.state, "connected");
  assert.deepEqual([gateway.client, gateway.node], ["n1.a.7", "n1.a"]);
}));

test("a token goes with the handshake", scripted({ token: "abc.def.ghi" }, async ({ server, gateway }) => {
  gateway.connect();
  assert.deepEqual((await server.next()).protocols, ["gateway.v1.json", "gateway.bearer.abc.def.ghi"]);
}));

test("a token is asked for before every connection, and shown before it ends", async () => {
  let count = 0;
  const getToken = async () => `token${(count += 1)}`;
  await scripted({ getToken }, async ({ server, gateway, clock }) => {
    const peer = await connected({ server, gateway });
    assert.equal(peer.protocols[1], "gateway.bearer.token1");
    peer.send({ type: "expiring", in_ms: 30_000 });
    const auth = await peer.answer("auth", { type: "authed", user: "ann" });
    assert.equal(auth.token, "token2");
    const waiting = state(gateway, "waiting");
    peer.close(4104);
    clock.advance((await waiting).delayMs);
    assert.equal((await server.next()).protocols[1], "gateway.bearer.token3");
  })();
});

test("a token that cannot be had is asked for again later", async () => {
  const getToken = () => Promise.reject(new Error("the shop is closed"));
  await scripted({ getToken }, async ({ gateway }) => {
    const waiting = state(gateway, "waiting");
    gateway.connect();
    assert.match((await waiting).reason, /the shop is closed/);
  })();
});

test("a token that no header can hold is final", scripted({ token: "a token" }, async ({ gateway }) => {
  await assert.rejects(gateway.connect(), { code: "closed" });
  assert.equal(gateway.state, "closed");
}));

const ADVICE = {
  closed: [1000, 1002, 1003, 1007, 1009, 4001, 4003, 4008, 4009, 4010, 4011, 4099],
  waiting: [1001, 1008, 1011, 4100, 4101, 4102, 4103, 4104, 4105, 4107, 4108, 4109, 4110, 4199, 4200, 4201, 4300],
};
for (const [outcome, codes] of Object.entries(ADVICE)) {
  for (const code of codes) {
    test(`after a close with ${code} it is ${outcome}`, scripted(async ({ server, gateway }) => {
      const peer = await connected({ server, gateway });
      const next = state(gateway, "waiting", "closed");
      peer.close(code, "why");
      const detail = await next;
      assert.deepEqual([detail.state, detail.code, detail.reason], [outcome, code, "why"]);
      assert.equal(gateway.client, null);
    }));
  }
}

test("whoever waits for a connection is told that there will be none", scripted(async ({ server, gateway }) => {
  const connecting = gateway.connect();
  (await server.next()).close(4003, "forbidden");
  await assert.rejects(connecting, { code: "closed", message: "forbidden" });
}));

test("waits are random below a bound that doubles up to its ceiling", scripted(WEBSOCKET, async (parts) => {
  const { server, gateway, clock, random } = parts;
  random.value = 0.75;
  const waits = [];
  gateway.connect();
  for (let attempt = 0; attempt < 8; attempt += 1) {
    const waiting = state(gateway, "waiting");
    (await server.next()).terminate();
    const { delayMs } = await waiting;
    waits.push(delayMs);
    clock.advance(delayMs - 1);
    assert.equal(gateway.state, "waiting");
    clock.advance(1);
    assert.equal(gateway.state, "connecting");
  }
  assert.deepEqual(waits, [375, 750, 1500, 3000, 6000, 12_000, 15_000, 15_000]);
}));

test("a node that takes nobody now is left alone for a random wait that grows", scripted(WEBSOCKET, async (parts) => {
  const { server, gateway, clock, random } = parts;
  const waits = [];
  server.refuse(503);
  let waiting = state(gateway, "waiting");
  gateway.connect();
  for (const chance of [0, 0.5, 0.999, 0.25]) {
    random.value = chance;
    const { delayMs, code } = await waiting;
    assert.equal(code, 1006, "a page is not told the status");
    waits.push(delayMs);
    if (waits.length === 4) server.refuse(null);
    waiting = state(gateway, "waiting");
    clock.advance(delayMs);
  }
  assert.deepEqual(waits, [0, 500, 1998, 1000]);
  const isConnected = state(gateway, "connected");
  await server.welcomed();
  await isConnected;
}));

test("the bounds begin anew once a connection has lasted for ten seconds", scripted(async ({ server, gateway, clock }) => {
  const wait = async (peer) => {
    const waiting = state(gateway, "waiting");
    peer.terminate();
    return (await waiting).delayMs;
  };
  gateway.connect();
  assert.equal(await wait(await server.next()), 250);
  clock.advance(250);
  let peer = await connected({ server, gateway });
  clock.advance(9_000);
  assert.equal(await wait(peer), 500, "it has not lasted");
  clock.advance(500);
  peer = await connected({ server, gateway }, { ping_interval_ms: 60_000 });
  clock.advance(10_000);
  assert.equal(await wait(peer), 250);
}));

test("it comes back when it was told to", scripted(async ({ server, gateway, clock }) => {
  const peer = await connected({ server, gateway });
  const waiting = state(gateway, "waiting");
  peer.send({ type: "reconnect", after_ms: 1830, reason: "draining" });
  peer.close(4200, "draining");
  assert.equal((await waiting).delayMs, 1830);
  clock.advance(1829);
  assert.equal(gateway.state, "waiting");
  clock.advance(1);
  const again = state(gateway, "waiting");
  (await server.next()).close(4100);
  assert.equal((await again).delayMs, 500, "that attempt failed: backoff");
}));

test("what was said of coming back counts for 42xx only, and for that connection", scripted(async (parts) => {
  const { server, gateway, clock } = parts;
  let peer = await connected(parts);
  let waiting = state(gateway, "waiting");
  peer.send({ type: "reconnect", after_ms: 60_000, reason: "draining" });
  peer.terminate();
  assert.equal((await waiting).delayMs, 250);
  clock.advance(250);
  peer = await connected({ server, gateway });
  waiting = state(gateway, "waiting");
  peer.close(4201);
  assert.equal((await waiting).delayMs, 500);
}));

test("a gateway that sends it on and on is not asked at full speed", scripted(async ({ server, gateway, clock }) => {
  const waits = [];
  gateway.connect();
  for (let round = 0; round < 3; round += 1) {
    const peer = await server.welcomed();
    const waiting = state(gateway, "waiting");
    peer.send({ type: "reconnect", after_ms: 0, reason: "rebalance" });
    peer.close(4201);
    waits.push((await waiting).delayMs);
    clock.advance(waits.at(-1));
  }
  assert.deepEqual(waits, [0, 500, 1000]);
}));

test("a connection without a welcome is given up", scripted(async ({ server, gateway, clock }) => {
  gateway.connect();
  const peer = await server.next();
  const waiting = state(gateway, "waiting");
  clock.advance(10_000);
  assert.equal((await waiting).reason, "no welcome in time");
  await peer.closed;
}));

test("it asks a silent gateway for a sign of life, and leaves if there is none", scripted(async (parts) => {
  const { gateway, clock } = parts;
  const peer = await connected(parts, { ping_interval_ms: 10_000 });
  clock.advance(20_000);
  await peer.answer("ping", { type: "pong" });
  await Promise.all([peer.answer("ping", { type: "pong" }), gateway.ping()]);
  clock.advance(19_999);
  assert.equal(gateway.state, "connected");
  clock.advance(1);
  await peer.expect("ping");
  const waiting = state(gateway, "waiting");
  clock.advance(9999);
  assert.equal(gateway.state, "connected");
  clock.advance(1);
  assert.equal((await waiting).reason, "the gateway is silent");
}));

test("whatever it hears counts as a sign of life", scripted(async (parts) => {
  const { gateway, clock } = parts;
  const peer = await connected(parts, { ping_interval_ms: 10_000 });
  clock.advance(15_000);
  const heard = new Promise((resolve) => gateway.addEventListener("message", resolve));
  peer.send({ type: "message", from: { client: "n2.c.9" }, data: "hello" });
  assert.deepEqual((await heard).detail.data, "hello");
  clock.advance(19_999);
  const ping = gateway.ping();
  const command = await peer.expect("ping");
  assert.equal(command.id, 1, "nothing was asked before");
  peer.send({ type: "pong", id: command.id });
  await ping;
}));

test("whoever closes it is left alone, and may connect again", scripted(async ({ server, gateway, clock }) => {
  const peer = await connected({ server, gateway });
  gateway.close();
  assert.equal(gateway.state, "closed");
  assert.equal(await peer.closed, 1000);
  clock.advance(3_600_000);
  assert.equal(gateway.state, "closed");
  await connected({ server, gateway });
  assert.equal(gateway.state, "connected");
}));

test("closing while waiting ends the waiting", scripted(async ({ server, gateway, clock }) => {
  const waiting = state(gateway, "waiting");
  gateway.connect();
  (await server.next()).terminate();
  await waiting;
  gateway.close();
  clock.advance(3_600_000);
  assert.equal(gateway.state, "closed");
}));

test("connecting while waiting does not wait any longer", scripted(async ({ server, gateway }) => {
  const peer = await connected({ server, gateway });
  const waiting = state(gateway, "waiting");
  peer.close(4100);
  await waiting;
  await connected({ server, gateway });
  assert.equal(gateway.state, "connected");
}));

test("a handler may close it in the moment it is connected", scripted(async ({ server, gateway }) => {
  gateway.subscribe("news");
  gateway.addEventListener("state", ({ detail }) => detail.state === "connected" && gateway.close());
  const connecting = gateway.connect();
  const peer = await server.welcomed();
  await assert.rejects(connecting, { code: "closed" });
  assert.equal(await peer.closed, 1000);
}));
