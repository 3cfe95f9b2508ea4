// MessagePack by the `@msgpack/msgpack` of npm, beside a client that speaks JSON and one that speaks nothing.

import { decode, encode } from "@msgpack/msgpack";
import assert from "node:assert/strict";
import { on, once } from "node:events";
import { after, test } from "node:test";
import WebSocket from "ws";
import { bearer, channel, nodes } from "./cluster.js";

const opened = [];
after(() => opened.forEach((socket) => socket.terminate()));

const BIG = { useBigInt64: true };

/** A client of `/ws` or `/raw`: sends values, and reads what comes in the dialect it speaks. */
async function open(node, path, protocol, read) {
    const socket = new WebSocket(nodes[node] + path, protocol, bearer("ann"));
    opened.push(socket);
    const messages = on(socket, "message", { signal: AbortSignal.timeout(15_000) });
    await once(socket, "open");
    assert.equal(socket.protocol, protocol);
    return { socket, next: async () => read(...(await messages.next()).value) };
}

const packed = (node) =>
    open(node, "/ws", "gateway.v1.msgpack", (data, isBinary) => {
        assert.ok(isBinary, "MessagePack comes in binary messages");
        return decode(new Uint8Array(data), BIG);
    });

test("bytes, numbers and text arrive as they were, on another node and in another dialect", async () => {
    const board = channel("packed");
    const [ann, bob] = [await packed(0), await packed(1)];
    const json = await open(1, "/ws", "gateway.v1.json", (data) => JSON.parse(data));
    const send = (command) => ann.socket.send(encode(command, BIG));
    for (const client of [ann, bob, json]) assert.equal((await client.next()).type, "welcome");
    const subscribe = { type: "subscribe", id: 1, channel: board };
    for (const client of [ann, bob]) client.socket.send(encode(subscribe));
    json.socket.send(JSON.stringify(subscribe));
    for (const client of [ann, bob, json]) {
        // Whoever has come before sees the others come.
        let message;
        do message = await client.next();
        while (message.type === "join");
        assert.equal(message.type, "subscribed");
    }
    const raw = await open(0, `/raw/${board}?since=0`, "gateway.v1.raw", (data, isBinary) => [data.toString("base64"), isBinary]);
    const bytes = Uint8Array.from({ length: 1000 }, (_, n) => n % 256);
    const base64 = Buffer.from(bytes).toString("base64");
    const value = { text: "é🦀\0", list: [1, -1, 2.5, true, null], big: 2n ** 63n, deep: { er: [[]] } };
    send({ type: "publish", id: 2, channel: board, data: bytes });
    send({ type: "publish", channel: board, data: value, event: "value" });
    const publication = async (client) => {
        let message;
        do message = await client.next();
        while (message.type !== "publication");
        return message;
    };
    for (const client of [ann, bob]) {
        const first = await publication(client);
        assert.deepEqual([first.data, first.encoding], [bytes, undefined]);
        const second = await publication(client);
        assert.equal(second.event, "value");
        assert.equal(BigInt(second.data.big), value.big);
        // With useBigInt64 integers of 64 bits are bigints, smaller ones are numbers.
        assert.deepEqual(second.data, value);
    }
    const first = await publication(json);
    assert.deepEqual([first.data, first.encoding], [base64, "base64"]);
    assert.deepEqual((await publication(json)).data.list, value.list);
    assert.deepEqual(await raw.next(), [base64, true]);
    assert.equal(JSON.parse(Buffer.from((await raw.next())[0], "base64")).text, value.text);
    raw.socket.send(bytes);
    raw.socket.send("plain");
    assert.deepEqual((await publication(bob)).data, bytes);
    assert.equal((await publication(bob)).data, "plain");
});

test("what is wrong is told in the same dialect", async () => {
    const client = await packed(0);
    await client.next();
    client.socket.send("a text");
    assert.equal((await client.next()).code, "bad_request");
    client.socket.send(encode({ type: "publish", id: 5, channel: "c", data: Number.NaN }));
    const refused = await client.next();
    assert.deepEqual([refused.type, refused.id, refused.code], ["error", 5, "bad_request"]);
    client.socket.send(encode([{ type: "ping", id: 6 }, { type: "ping", id: 7 }]));
    assert.deepEqual([(await client.next()).id, (await client.next()).id], [6, 7]);
});
