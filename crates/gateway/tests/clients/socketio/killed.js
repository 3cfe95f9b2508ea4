// A node is killed under its clients: they come back to another one, as who they were, and have missed nothing.
// Arguments: NAME=PID of each node.
import assert from "node:assert/strict";
import { ask, closeAll, connect, nodeOf, once, until } from "./client.js";

const pids = new Map(process.argv.slice(2).map((word) => word.split("=")));
const [victim] = [...pids.keys()];

/// A client of the node that is to die, or of another one.
async function clientOf(mode, isVictim) {
  for (let network = 1; network < 60; network++) {
    const socket = await connect(mode, { network });
    if ((nodeOf(socket) === victim) === isVictim) return socket;
    socket.disconnect();
  }
  throw new Error("nginx gives no client that node");
}

const rooms = [`a-${process.pid}`, `b-${process.pid}`];
const survivor = await clientOf("websocket", false);
const orphans = [await clientOf("websocket", true), await clientOf("websocket", true)];
const heard = orphans.map(() => []);
for (const [n, socket] of orphans.entries()) {
  socket.on("room-message", ({ message }) => heard[n].push(message));
  // One of them in a single room beside the default one, the other in two.
  for (const name of rooms.slice(0, n + 1)) await ask(socket, "join-room", name);
}
const say = async (message) => {
  for (const name of rooms) await ask(survivor, "room-message", { room: name, message: `${name[0]}${message}` });
};
await say(1);
await until("they have heard the first", () => heard[0].length === 1 && heard[1].length === 2);
const ids = orphans.map((socket) => socket.id);
const back = orphans.map((socket) => once(socket, "disconnect").then(() => once(socket, "connect")));
process.kill(Number(pids.get(victim)), "SIGKILL");
await say(2);
await Promise.all(back);
await say(3);
await until("they have heard the last", () => heard[0].at(-1) === "a3" && heard[1].length === 6);
assert.deepEqual(heard[0], ["a1", "a2", "a3"]);
for (const letter of ["a", "b"]) {
  assert.deepEqual(heard[1].filter((m) => m[0] === letter), [1, 2, 3].map((n) => `${letter}${n}`));
}
for (const [n, socket] of orphans.entries()) {
  assert.ok(socket.recovered, "it goes on as what it was");
  assert.equal(socket.id, ids[n]);
  const told = once(socket, "private-message");
  await ask(survivor, "private-message", { to: ids[n], message: "still you?" });
  assert.equal((await told)[0].message, "still you?");
}
closeAll();
console.log("a node was killed, and its clients have missed nothing");
process.exit(0);
