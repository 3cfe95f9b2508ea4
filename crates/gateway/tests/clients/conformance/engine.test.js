// Engine.IO 4, against a server that sends every message back, pings every 300 ms and waits 200 ms for the answer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { engine, PING_INTERVAL_MS, PING_TIMEOUT_MS, SERVER, sleep } from "./wire.js";

for (const path of ["/engine.io/", "/socket.io/"]) {
  const { get, poll, post, session, stream, url } = engine(path);

  const opens = (packet, upgrades) => {
    assert.equal(packet[0], "0");
    const open = JSON.parse(packet.slice(1));
    assert.deepEqual(Object.keys(open).sort(), ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"]);
    assert.equal(typeof open.sid, "string");
    assert.deepEqual(
      [open.upgrades, open.pingInterval, open.pingTimeout, open.maxPayload],
      [upgrades, PING_INTERVAL_MS, PING_TIMEOUT_MS, 1_000_000],
    );
  };

  test(`${path} polling: a session is opened`, async () => {
    const response = await get("EIO=4&transport=polling");
    assert.equal(response.status, 200);
    opens(await response.text(), ["websocket"]);
  });

  for (const query of ["transport=polling", "EIO=abc&transport=polling", "EIO=3&transport=polling", "EIO=4", "EIO=4&transport=abc"]) {
    test(`${path} polling: no session is opened with ${query}`, async () => {
      assert.equal((await get(query)).status, 400);
    });
    test(`${path} websocket: no session is opened with ${query}`, async () => {
      await stream(query.replace("polling", "websocket")).ends();
    });
  }

  test(`${path} polling: a session begins with GET`, async () => {
    for (const method of ["POST", "PUT"]) {
      const response = await get("EIO=4&transport=polling", { method });
      assert.deepEqual([response.status, (await response.json()).code], [400, 2]);
    }
  });

  test(`${path} websocket: a session is opened`, async () => {
    const socket = stream();
    opens(await socket.next(), []);
    socket.close();
  });

  test(`${path} polling: a session that nobody has opened is unknown`, async () => {
    const sid = await session();
    for (const wrong of ["abc", sid.slice(0, -1) + (sid.endsWith("0") ? "1" : "0"), sid.replace(/^[^.]*/, "elsewhere")]) {
      const response = await poll(wrong);
      assert.deepEqual([response.status, (await response.json()).code], [400, 1]);
    }
  });

  test(`${path} polling: pings are answered`, async () => {
    const sid = await session();
    for (let n = 0; n < 3; n++) {
      assert.equal(await (await poll(sid)).text(), "2");
      assert.equal((await post(sid, "3")).status, 200);
    }
  });

  test(`${path} polling: who does not answer is gone`, async () => {
    const sid = await session();
    await sleep(PING_INTERVAL_MS + PING_TIMEOUT_MS);
    assert.equal((await poll(sid)).status, 400);
  });

  test(`${path} websocket: pings are answered`, async () => {
    const socket = stream();
    await socket.next();
    for (let n = 0; n < 3; n++) {
      assert.equal(await socket.next(), "2");
      socket.send("3");
    }
    socket.close();
  });

  test(`${path} websocket: who does not answer is closed`, async () => {
    await stream().ends();
  });

  test(`${path} polling: a session is ended`, async () => {
    const sid = await session();
    const polled = poll(sid);
    await sleep(10);
    await post(sid, "1");
    const response = await polled;
    assert.deepEqual([response.status, await response.text()], [200, "6"]);
    assert.equal((await poll(sid)).status, 400);
  });

  test(`${path} websocket: a session is ended`, async () => {
    const socket = stream();
    await socket.next();
    socket.send("1");
    await socket.ends();
  });

  test(`${path} websocket: what is no packet ends it`, async () => {
    const socket = stream();
    await socket.next();
    socket.send("abc");
    await socket.ends();
  });

  test(`${path} polling: what is no payload ends it`, async () => {
    const sid = await session();
    assert.equal((await post(sid, "abc")).status, 400);
    assert.equal((await poll(sid)).status, 400);
  });

  test(`${path} polling: two polls at once end it`, async () => {
    const sid = await session();
    const first = poll(sid);
    await sleep(20);
    assert.equal((await poll(sid, "&t=burst")).status, 400);
    const response = await first;
    assert.deepEqual([response.status, await response.text()], [200, "1"]);
    assert.equal((await poll(sid)).status, 400);
  });

  test(`${path} polling: a poll that is given up ends it`, async () => {
    const sid = await session();
    const abort = new AbortController();
    poll(sid, "", { signal: abort.signal }).catch(() => {});
    await sleep(20);
    abort.abort();
    await sleep(20);
    assert.equal((await poll(sid)).status, 400);
  });

  test(`${path} polling: a body that is too large is refused`, async () => {
    const sid = await session();
    assert.equal((await post(sid, "4" + "x".repeat(1_000_000))).status, 413);
  });

  test(`${path} upgrade: a session goes on as a WebSocket, and the poll that waited is let go`, async () => {
    const sid = await session();
    const socket = stream(`EIO=4&transport=websocket&sid=${sid}`);
    await socket.opened;
    socket.send("2probe");
    assert.equal(await socket.next(), "3probe");
    const response = await poll(sid);
    assert.deepEqual([response.status, await response.text()], [200, "6"]);
    socket.send("5");
    socket.send("2hello");
    assert.equal(await socket.said(), "3hello");
    socket.close();
  });

  test(`${path} upgrade: afterwards it neither polls nor goes on as another one`, async () => {
    const sid = await session();
    const socket = stream(`EIO=4&transport=websocket&sid=${sid}`);
    await socket.opened;
    socket.send("2probe");
    assert.equal(await socket.next(), "3probe");
    socket.send("5");
    assert.equal((await poll(sid)).status, 400);
    await stream(`EIO=4&transport=websocket&sid=${sid}`).ends();
    socket.send("2hello");
    assert.equal(await socket.said(), "3hello");
    socket.close();
  });

  test(`${path} upgrade: a stream that says anything else is closed, and the session polls on`, async () => {
    const sid = await session();
    const socket = stream(`EIO=4&transport=websocket&sid=${sid}`);
    await socket.opened;
    socket.send("4hello");
    await socket.ends();
    assert.equal((await poll(sid)).status, 200);
    assert.equal((await post(sid, "3")).status, 200);
  });

  test(`${path} pages of this host may ask from where they are, and no others`, async () => {
    const headers = { Origin: SERVER };
    const response = await fetch(url("EIO=4&transport=polling"), { headers });
    assert.deepEqual([response.status, response.headers.get("access-control-allow-origin")], [200, SERVER]);
    const foreign = await fetch(url("EIO=4&transport=polling"), { headers: { Origin: "https://elsewhere.example" } });
    assert.deepEqual([foreign.status, foreign.headers.get("access-control-allow-origin")], [403, null]);
  });
}

const { poll, post, session, stream } = engine("/engine.io/");

for (const payload of ["4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA=="]) {
  test(`polling: ${JSON.stringify(payload)} comes back`, async () => {
    const sid = await session();
    const response = await post(sid, payload);
    assert.deepEqual([response.status, await response.text()], [200, "ok"]);
    assert.equal(await (await poll(sid)).text(), payload);
  });
}

test("polling: a poll that is asked for again is answered as before", async () => {
  const sid = await session();
  await post(sid, "4hello");
  for (let n = 0; n < 2; n++) assert.equal(await (await poll(sid, "&t=abc")).text(), "4hello");
});

test("websocket: text and binary come back", async () => {
  const socket = stream();
  await socket.next();
  socket.send("4hello");
  assert.equal(await socket.said(), "4hello");
  socket.send(Buffer.from([1, 2, 3, 4]));
  assert.deepEqual(await socket.said(), Buffer.from([1, 2, 3, 4]));
  socket.close();
});

test("upgrade: what waits goes with the session, in its order", async () => {
  const sid = await session();
  const socket = stream(`EIO=4&transport=websocket&sid=${sid}`);
  await socket.opened;
  socket.send("2probe");
  assert.equal(await socket.next(), "3probe");
  await post(sid, "41\x1e42");
  socket.send("5");
  socket.send("43");
  for (const expected of ["41", "42", "43"]) assert.equal(await socket.said(), expected);
  socket.close();
});
