// Going on as a WebSocket while messages come: to another node more often than not, and nothing is lost or comes twice.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { ask, closeAll, connect, once, track, until } from "./client.js";

afterEach(closeAll);

const LISTENERS = 12;
const MESSAGES = 300;

test("nothing is lost and nothing comes twice while clients go on as WebSockets", async () => {
  const lobby = `upgrade-${process.pid}-${Date.now()}`;
  const speaker = await connect("websocket", { network: 1 });
  let said = 0;
  const speaking = (async () => {
    while (said < MESSAGES) {
      await ask(speaker, "room-message", { room: lobby, message: ++said });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  const listening = Array.from({ length: LISTENERS }, async (_, n) => {
    await new Promise((resolve) => setTimeout(resolve, n * 40));
    const socket = await connect("upgrade", { network: n + 1 });
    const heard = [];
    socket.on("room-message", ({ message }) => heard.push(message));
    socket.on("disconnect", (reason) => assert.ok(heard.at(-1) === MESSAGES, `closed in between: ${reason}`));
    // Joined while it still polls, or just after: both are to be right.
    await ask(socket, "join-room", lobby);
    return { socket, heard };
  });
  const listeners = await Promise.all(listening);
  await speaking;
  for (const { socket, heard } of listeners) {
    await until("it has heard the last one", () => heard.at(-1) === MESSAGES);
    const first = heard[0];
    assert.deepEqual(heard, Array.from({ length: MESSAGES - first + 1 }, (_, n) => first + n));
    assert.equal(socket.io.engine.transport.name, "websocket");
  }
});

test("whoever loses its stream goes on where it was, in each of its namespaces", async () => {
  const lobby = `lost-${process.pid}-${Date.now()}`;
  const [main, speaker] = await Promise.all([connect("upgrade", { network: 1 }), connect("websocket", { network: 2 })]);
  await until("it is a WebSocket", () => main.io.engine.transport.name === "websocket");
  const admin = track(main.io.socket("/admin"));
  const other = await connect("websocket", { network: 3, namespace: "/admin" });
  if (!admin.connected) await once(admin, "connect");
  const heard = { main: [], admin: [] };
  main.on("room-message", ({ message }) => heard.main.push(message));
  admin.on("room-message", ({ message }) => heard.admin.push(message));
  for (const socket of [main, admin, speaker, other]) await ask(socket, "join-room", lobby);
  const say = async (message) => {
    await ask(speaker, "room-message", { room: lobby, message });
    await ask(other, "room-message", { room: lobby, message });
  };
  const ids = [main.id, admin.id];
  for (let round = 1; round <= 3; round++) {
    await say(`${round} before`);
    await until("it has heard", () => heard.main.length === 2 * round - 1 && heard.admin.length === 2 * round - 1);
    const back = [once(main, "connect"), once(admin, "connect")];
    main.io.engine.transport.ws.close();
    await say(`${round} meanwhile`);
    await Promise.all(back);
    await until("it has caught up", () => heard.main.length === 2 * round && heard.admin.length === 2 * round);
    assert.deepEqual([main.id, admin.id, main.recovered, admin.recovered], [...ids, true, true]);
  }
  const expected = [1, 2, 3].flatMap((round) => [`${round} before`, `${round} meanwhile`]);
  assert.deepEqual([heard.main, heard.admin], [expected, expected]);
});

test("who goes on elsewhere is still known by the id that it was given", async () => {
  for (let attempt = 0; attempt < 6; attempt++) {
    const [ann, bob] = await Promise.all([connect("upgrade", { network: 1 }), connect("websocket", { network: 2 })]);
    const lobby = `known-${attempt}-${Date.now()}`;
    await ask(ann, "join-room", lobby);
    await until("it is a WebSocket", () => ann.io.engine.transport.name === "websocket");
    const heard = once(ann, "private-message");
    await ask(bob, "private-message", { to: ann.id, message: "still you?" });
    assert.equal((await heard)[0].message, "still you?");
    // What it says bears that id too, and it is spared its own where it asks for that.
    ann.on("moved", () => assert.fail("its own"));
    await ask(bob, "join-room", lobby);
    const said = once(bob, "moved");
    await ask(ann, "publish", { channel: lobby, event: "moved", data: 1, echo: false });
    assert.equal((await said)[1].from, ann.id);
    await ask(ann, "ping");
  }
});
