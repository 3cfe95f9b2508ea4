// Socket.IO 5, against a server that emits `auth`, and sends `message` and `message-with-ack` back, in `/` and `/custom`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { engine } from "./wire.js";

const { stream } = engine("/socket.io/");

async function opened() {
  const socket = stream();
  await socket.next();
  return socket;
}

async function connected() {
  const socket = await opened();
  socket.send("40");
  await socket.said();
  await socket.said();
  return socket;
}

for (const [name, prefix] of [["/", ""], ["/custom", "/custom,"]]) {
  for (const auth of ["", '{"token":"123"}']) {
    test(`${name} is entered with ${auth || "nothing"}`, async () => {
      const socket = await opened();
      socket.send(`40${prefix}${auth}`);
      const packet = await socket.said();
      assert.ok(packet.startsWith(`40${prefix}{`), packet);
      const entered = JSON.parse(packet.slice(2 + prefix.length));
      assert.deepEqual([Object.keys(entered), typeof entered.sid], [["sid"], "string"]);
      assert.equal(await socket.said(), `42${prefix}["auth",${auth || "{}"}]`);
      socket.close();
    });
  }
}

test("an unknown namespace is refused", async () => {
  const socket = await opened();
  socket.send("40/random");
  assert.equal(await socket.said(), '44/random,{"message":"Invalid namespace"}');
  socket.close();
});

test("what is no CONNECT ends a connection that has entered nothing", async () => {
  for (const packet of ["4abc", '42["message"]', "41", "40[]"]) {
    const socket = await opened();
    socket.send(packet);
    await socket.ends();
  }
});

test("who enters nothing in time is closed", async () => {
  const socket = await opened();
  const answering = (async () => {
    for (let message = await socket.next(); message !== undefined; message = await socket.next()) {
      if (message === "2") socket.send("3");
    }
  })();
  await socket.ends();
  await answering;
});

test("a namespace is left, and the connection stays", async () => {
  const socket = await connected();
  socket.send("41");
  assert.equal(await socket.next(), "2");
  socket.close();
});

test("one namespace is left, and the other goes on", async () => {
  const socket = await connected();
  socket.send("40/custom");
  await socket.said();
  await socket.said();
  socket.send("41/custom");
  socket.send('42["message","to main"]');
  assert.equal(await socket.said(), '42["message-back","to main"]');
  socket.close();
});

const cases = [
  ["text", '42["message",1,"2",{"3":[true]}]', '42["message-back",1,"2",{"3":[true]}]', []],
  [
    "binary",
    '452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
    '452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
    [Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])],
  ],
  ["text with an ack", '42456["message-with-ack",1,"2",{"3":[false]}]', '43456[1,"2",{"3":[false]}]', []],
  [
    "binary with an ack",
    '452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
    '462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
    [Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])],
  ],
];
for (const [name, sent, expected, attachments] of cases) {
  test(`${name} comes back`, async () => {
    const socket = await connected();
    for (const part of [sent, ...attachments]) socket.send(part);
    for (const part of [expected, ...attachments]) assert.deepEqual(await socket.said(), part);
    socket.close();
  });
}

const violations = {
  "an unknown packet": ["4abc"],
  "an event that is no array": ["42{}"],
  "an ack id that is none": ['42abc["message-with-ack",1]'],
  "a reserved name": ['42["connect"]'],
  "an attachment of nothing": [Buffer.from([1])],
  "text in the midst of attachments": ['451-["message",{"_placeholder":true,"num":0}]', '42["message"]'],
  "eleven attachments": ['4511-["message"]'],
};
for (const [name, packets] of Object.entries(violations)) {
  test(`${name} ends the connection`, async () => {
    const socket = await connected();
    for (const packet of packets) socket.send(packet);
    await socket.ends();
  });
}
