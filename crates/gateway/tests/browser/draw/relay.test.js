/** The connection to the raw relay: it comes back as the close says, for there are no words. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Relay } from "../../../web/draw/relay.js";
import { Clock } from "../client/support.js";

/** A WebSocket that does what the test says. */
class Socket {
  static all = [];
  bufferedAmount = 0;
  sent = [];

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    Socket.all.push(this);
  }

  send(text) {
    this.sent.push(text);
  }

  close(code) {
    this.closedWith = code;
  }
}

/** A relay that has begun to connect, with all that it told. Every chance is one half. */
function begun(token) {
  Socket.all = [];
  const clock = new Clock();
  const relay = new Relay("ws://gateway.test/raw/board", () => token, { clock, random: () => 0.5, WebSocket: Socket });
  const told = [];
  relay.addEventListener("state", ({ detail }) => told.push(detail));
  relay.connect();
  const closed = (code, reason = "") => Socket.all.at(-1).onclose({ code, reason });
  return { relay, clock, told, closed, open: () => Socket.all.at(-1).onopen() };
}

test("it asks for what was kept, and for what it says itself, and shows its token as browsers can", () => {
  begun(undefined);
  assert.equal(Socket.all[0].url, "ws://gateway.test/raw/board?echo=1&since=0");
  assert.deepEqual(Socket.all[0].protocols, ["gateway.v1.raw"]);
  begun("a.b.c");
  assert.deepEqual(Socket.all[0].protocols, ["gateway.v1.raw", "gateway.bearer.a.b.c"]);
});

test("after 40xx it stays away, and says why", () => {
  const { clock, told, open, closed } = begun();
  open();
  closed(4009, "revoked");
  clock.advance(600_000);
  assert.equal(Socket.all.length, 1);
  assert.deepEqual(told.at(-1), { state: "closed", code: 4009, reason: "revoked" });
});

test("after 41xx, and after no close at all, it backs off by chance, ever longer until it has lasted", () => {
  for (const code of [4102, 4106, 1006]) {
    const { clock, told, open, closed } = begun();
    const waits = [];
    for (let attempt = 0; attempt < 7; attempt += 1) {
      closed(code);
      waits.push(told.at(-1).delayMs);
      clock.advance(told.at(-1).delayMs - 1);
      assert.equal(Socket.all.length, attempt + 1);
      clock.advance(1);
      assert.equal(Socket.all.length, attempt + 2);
    }
    assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 10_000]);
    open();
    clock.advance(10_000);
    closed(code);
    assert.equal(told.at(-1).delayMs, 250);
  }
});

test("after 42xx it comes back at once, but not in a circle", () => {
  const { clock, told, open, closed } = begun();
  open();
  closed(4200, "draining");
  assert.equal(told.at(-1).delayMs, 0);
  clock.advance(0);
  assert.equal(Socket.all.length, 2);
  open();
  closed(4201, "rebalance");
  assert.ok(told.at(-1).delayMs > 0);
});

test("where only the history is forbidden, it goes without; where all is, it stays away", () => {
  const { clock, relay, open, closed } = begun();
  open();
  closed(4003, "forbidden");
  assert.equal(Socket.all.at(-1).url, "ws://gateway.test/raw/board?echo=1");
  open();
  closed(4003, "forbidden");
  clock.advance(600_000);
  assert.deepEqual([relay.state, Socket.all.length], ["closed", 2]);
});

test("an opening that takes too long is given up", () => {
  const { clock, relay } = begun();
  clock.advance(10_000);
  assert.equal(relay.state, "waiting");
  assert.equal(Socket.all[0].closedWith, 4000);
  clock.advance(250);
  assert.equal(Socket.all.length, 2);
});

test("what an abandoned connection still brings is not heard", () => {
  const { relay, open } = begun();
  open();
  const heard = [];
  relay.addEventListener("message", ({ detail }) => heard.push(detail));
  const [former] = Socket.all;
  former.onmessage({ data: "before" });
  relay.renew("nothing was heard");
  assert.equal(former.onmessage, null);
  assert.deepEqual(heard, ["before"]);
});

test("nothing is given to a connection that takes nothing", () => {
  const { relay, open } = begun();
  assert.equal(relay.isReady, false);
  open();
  assert.equal(relay.isReady, true);
  Socket.all[0].bufferedAmount = 2 ** 20;
  assert.equal(relay.isReady, false);
});
