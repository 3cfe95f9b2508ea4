// What tutorials end with, as they write it: a client that reconnects and says who it is in its first message, and a page
// that polls every now and then where it has no WebSocket.

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { connect as dial, createServer } from "node:net";
import { after, test } from "node:test";
import WebSocket from "ws";
import { bearer, channel, nginx, nodes, token } from "./cluster.js";

const TIMEOUT_MS = 15_000;

const undo = [];
after(() => undo.forEach((step) => step()));

/** A road to a node that can be cut: everything on it ends, and whoever comes next is let through. */
async function road(url) {
    const { hostname, port } = new URL(url);
    const streams = new Set();
    const server = createServer((stream) => {
        const further = dial(port, hostname);
        for (const [from, to] of [[stream, further], [further, stream]]) {
            streams.add(from);
            from.on("error", () => {}).on("close", () => (streams.delete(from), to.destroy()));
            from.pipe(to);
        }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const cut = () => streams.forEach((stream) => stream.destroy());
    undo.push(() => (server.close(), cut()));
    return { url: `ws://127.0.0.1:${server.address().port}`, cut };
}

/** Waits for so many messages. */
async function heard(messages, told, count) {
    while (messages.length < count) await once(told, "message", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return messages;
}

test("a client that reconnects, and says who it is first, gets everything once and in order", async () => {
    const room = channel("reconnecting");
    const { url, cut } = await road(nodes[0]);
    const messages = [];
    const told = new EventEmitter();
    let attempt = 0;
    let position = null;
    let socket;

    // The tutorial's client: backoff, a token first, then the channel from where it was.
    function connect() {
        socket = new WebSocket(`${url}/ws`);
        socket.onopen = () => socket.send(JSON.stringify({ type: "auth", id: 1, token: token("ann") }));
        socket.onmessage = (event) => {
            const message = JSON.parse(event.data);
            if (message.type === "authed") {
                attempt = 0;
                const recover = position ?? undefined;
                socket.send(JSON.stringify({ type: "subscribe", id: 2, channel: room, recover }));
            }
            if (message.type === "subscribed") {
                position = { epoch: message.epoch, offset: message.offset };
                message.publications.forEach(({ data }) => messages.push(data));
                told.emit("subscribed");
            }
            if (message.type === "publication") {
                position.offset = message.offset;
                messages.push(message.data);
            }
            told.emit("message");
        };
        socket.onclose = () => setTimeout(connect, Math.random() * Math.min(10_000, 50 * 2 ** attempt++));
        socket.onerror = () => {};
    }
    connect();
    undo.push(() => ((socket.onclose = null), socket.terminate()));
    await once(told, "subscribed", { signal: AbortSignal.timeout(TIMEOUT_MS) });

    const other = new WebSocket(`${nodes[1]}/raw/${room}`, bearer("bob"));
    undo.push(() => other.terminate());
    await once(other, "open", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    for (let n = 0; n < 60; n++) {
        other.send(JSON.stringify(n));
        if (n % 20 === 10) {
            await heard(messages, told, Math.min(n, messages.length + 1));
            cut();
        }
    }
    const expected = Array.from({ length: 60 }, (_, n) => JSON.stringify(n));
    assert.deepEqual(await heard(messages, told, 60), expected);
});

test("a page without a WebSocket polls, and posts what it says", async () => {
    const room = channel("polling");
    const http = nginx.replace("ws:", "http:");
    const { headers } = bearer("cat");
    const seen = [];
    let since = "";

    async function poll() {
        const response = await fetch(`${http}/channels/${room}/messages${since}`, { headers });
        assert.equal(response.status, 200);
        const { epoch, offset, publications } = await response.json();
        seen.push(...publications.map((publication) => publication.data));
        since = `?since=${epoch}:${offset}`;
    }

    await poll();
    const says = { ...bearer("bob").headers, "Content-Type": "application/json" };
    for (let n = 0; n < 20; n++) {
        const body = JSON.stringify({ channel: room, data: { n } });
        const node = nodes[n % 2].replace("ws:", "http:");
        const response = await fetch(`${node}/publish`, { method: "POST", headers: says, body });
        assert.equal((await response.json()).type, "published");
        if (n % 3 === 0) await poll();
    }
    await poll();
    assert.deepEqual(seen, Array.from({ length: 20 }, (_, n) => ({ n })));
});
