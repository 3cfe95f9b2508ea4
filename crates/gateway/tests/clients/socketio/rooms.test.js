// Rooms, private messages, binary, acks and namespaces, for each way in which a client may connect.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import WebSocket from "ws";
import { ask, closeAll, connect, dial, FRONT, MODES, once, until } from "./client.js";

afterEach(closeAll);

const room = (name) => `${name}-${process.pid}-${Date.now()}`;

for (const mode of Object.keys(MODES)) {
  test(`${mode}: what is said in a room reaches everybody in it, whoever is on which node`, async () => {
    const lobby = room("lobby");
    const people = await Promise.all([1, 2, 3, 4].map((network) => connect(mode, { network })));
    const heard = people.map(() => []);
    people.forEach((socket, n) => socket.on("room-message", (message) => heard[n].push(message)));
    for (const [n, socket] of people.entries()) {
      if (n % 2) await ask(socket, "join-room", lobby);
      else await ask(socket, "join room", { room: lobby });
    }
    for (const [n, socket] of people.entries()) socket.emit("room-message", { room: lobby, message: `from ${n}` });
    await until("all have heard all", () => heard.every((messages) => messages.length === 4));
    for (const messages of heard) {
      assert.deepEqual(messages.map((m) => m.message).sort(), ["from 0", "from 1", "from 2", "from 3"]);
      for (const message of messages) {
        assert.equal(message.from, people[Number(message.message.at(-1))].id);
        assert.equal(message.room, lobby);
        assert.ok(Math.abs(message.timestamp - Date.now()) < 60_000);
      }
    }
    const order = JSON.stringify(heard[0].map((m) => m.message));
    assert.ok(heard.every((messages) => JSON.stringify(messages.map((m) => m.message)) === order), "in one order");
  });

  test(`${mode}: whoever has left a room hears it no more`, async () => {
    const lobby = room("left");
    const [ann, bob] = await Promise.all([connect(mode, { network: 1 }), connect(mode, { network: 2 })]);
    await Promise.all([ask(ann, "join-room", lobby), ask(bob, "join-room", lobby)]);
    bob.on("room-message", () => assert.fail("it has left"));
    await ask(bob, "leave-room", lobby);
    await ask(bob, "leave-room", lobby);
    const own = once(ann, "room-message");
    ann.emit("room-message", { room: lobby, message: 1 });
    await own;
    await ask(bob, "ping");
  });

  test(`${mode}: the words of chats, and those without a room`, async () => {
    const lobby = room("chat");
    const [ann, bob] = await Promise.all([connect(mode, { network: 1 }), connect(mode, { network: 2 })]);
    await Promise.all([ask(ann, "join-room", lobby), ask(bob, "join-room", lobby)]);
    let heard = once(bob, "chat message");
    ann.emit("chat message", { room: lobby, text: "hello" });
    const [said] = await heard;
    assert.deepEqual([said.sender, said.text, said.room], [ann.id, "hello", lobby]);
    // The first tutorial: nobody has joined anything, and texts are texts.
    heard = once(bob, "chat message");
    ann.emit("chat message", "hello, all");
    assert.equal((await heard)[0], "hello, all");
  });

  test(`${mode}: typing is passed on to the others, and to nobody else`, async () => {
    const lobby = room("typing");
    const [ann, bob] = await Promise.all([connect(mode, { network: 1 }), connect(mode, { network: 2 })]);
    await Promise.all([ask(ann, "join-room", lobby), ask(bob, "join-room", lobby)]);
    // It is kept nowhere: one who is being moved to another node's stream may miss it.
    const isThere = (socket) => mode !== "upgrade" || socket.io.engine.transport.name === "websocket";
    await until("both have their streams", () => isThere(ann) && isThere(bob));
    ann.on("typing", () => assert.fail("its own"));
    const heard = once(bob, "typing");
    ann.emit("typing", { room: lobby, user: "ann" });
    const [said, about] = await heard;
    assert.deepEqual(said, { room: lobby, user: "ann" });
    assert.equal(about.from, ann.id);
    await ask(ann, "ping");
  });

  test(`${mode}: a private message reaches one socket on whatever node`, async () => {
    const people = await Promise.all([1, 2, 3].map((network) => connect(mode, { network })));
    people[2].on("private-message", () => assert.fail("it is for somebody else"));
    const heard = once(people[1], "private-message");
    await ask(people[0], "private-message", { to: people[1].id, message: { secret: 7 } });
    const [said] = await heard;
    assert.deepEqual([said.from, said.message], [people[0].id, { secret: 7 }]);
    const nobody = people[1].id.replace(/.$/, (digit) => (digit === "0" ? "1" : "0"));
    const answer = await people[0].emitWithAck("private-message", { to: nobody, message: 1 });
    assert.deepEqual([answer.status, answer.code], ["error", "unknown_client"]);
  });

  test(`${mode}: binary data arrives as it was sent`, async () => {
    const lobby = room("binary");
    const [ann, bob] = await Promise.all([connect(mode, { network: 1 }), connect(mode, { network: 2 })]);
    await Promise.all([ask(ann, "join-room", lobby), ask(bob, "join-room", lobby)]);
    const parts = [Buffer.from([0, 255, 1]), Buffer.alloc(20_000, 7)];
    const heard = once(bob, "room-message");
    ann.emit("room-message", { room: lobby, message: { a: parts[0], list: [1, parts[1]] } });
    const [{ message }] = await heard;
    assert.deepEqual([Buffer.from(message.a), Buffer.from(message.list[1])], parts);
    const whole = once(bob, "room-message");
    await ask(ann, "room-message", { room: lobby, message: parts[0] });
    assert.deepEqual(Buffer.from((await whole)[0].message), parts[0]);
  });

  test(`${mode}: namespaces are apart, and an unknown one is refused`, async () => {
    const lobby = room("namespaces");
    const [main, admin, other] = await Promise.all([
      connect(mode, { network: 1 }),
      connect(mode, { network: 1, namespace: "/admin" }),
      connect(mode, { network: 2, namespace: "/admin" }),
    ]);
    for (const socket of [main, admin, other]) await ask(socket, "join-room", lobby);
    main.on("room-message", () => assert.fail("it is in another namespace"));
    const heard = once(other, "room-message");
    await ask(admin, "room-message", { room: lobby, message: "for admins" });
    const [said] = await heard;
    assert.deepEqual([said.message, said.room], ["for admins", lobby]);
    await ask(main, "ping");
    const nowhere = dial(mode, { namespace: "/nowhere" });
    const [error] = await once(nowhere, "connect_error");
    assert.equal(error.message, "Invalid namespace");
  });

  test(`${mode}: the commands of the gateway itself are answered in acks`, async () => {
    const channel = room("native");
    const [ann, bob] = await Promise.all([connect(mode, { network: 1 }), connect(mode, { network: 2 })]);
    await ask(bob, "subscribe", { channel });
    const heard = once(bob, "moved");
    const published = await ask(ann, "publish", { channel, event: "moved", data: { x: 1 } });
    assert.equal(published.offset, 1);
    assert.deepEqual((await heard)[0], { x: 1 });
    const history = await ask(ann, "history", { channel, limit: 10 });
    assert.deepEqual(history.publications.map((p) => p.data), [{ x: 1 }]);
    assert.equal((await ask(ann, "presence", { channel })).users, 1);
    await ask(bob, "unsubscribe", { channel });
    const answer = await ann.emitWithAck("of the application", 1);
    assert.deepEqual([answer.status, answer.code], ["error", "bad_request"]);
  });
}

test("a client of the native dialect is in the same room", async () => {
  const lobby = room("shared");
  const ann = await connect("websocket", { network: 1 });
  await ask(ann, "join-room", lobby);
  const bob = new WebSocket(`${FRONT.replace("http", "ws")}/ws`, { headers: { "X-Forwarded-For": "192.0.2.1" } });
  const got = [];
  bob.on("message", (text) => got.push(JSON.parse(text)));
  await once(bob, "open");
  bob.send(JSON.stringify({ type: "subscribe", id: 1, channel: lobby }));
  await until("it has joined", () => got.some((message) => message.type === "subscribed"));
  const heard = once(ann, "room-message");
  bob.send(JSON.stringify({ type: "publish", channel: lobby, data: { text: "from afar" } }));
  assert.deepEqual((await heard)[0].message, { text: "from afar" });
  await ask(ann, "room-message", { room: lobby, message: "hello" });
  await until("it has heard", () => got.some((message) => message.type === "publication" && message.data === "hello"));
  bob.close();
});
