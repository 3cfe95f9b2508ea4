// The clients of WebSocket tutorials, by the `ws` and `wscat` of npm: echo, broadcast, and a token as the first message.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { after, test } from "node:test";
import { promisify } from "node:util";
import WebSocket from "ws";
import { bearer, channel, nginx, nodes, token } from "./cluster.js";

const TIMEOUT_MS = 15_000;

const opened = [];
after(() => opened.forEach((socket) => socket.terminate()));

/** Reads message after message: text as a string, bytes as a Buffer. */
class Reader {
    #messages = [];
    #wake = () => {};

    constructor(socket) {
        socket.on("message", (data, isBinary) => {
            this.#messages.push(isBinary ? data : data.toString());
            this.#wake();
        });
    }

    async next() {
        const deadline = Date.now() + TIMEOUT_MS;
        while (this.#messages.length === 0) {
            const left = deadline - Date.now();
            assert.ok(left > 0, "no message came");
            await new Promise((resolve) => {
                const timer = setTimeout(resolve, left);
                this.#wake = () => (clearTimeout(timer), resolve());
            });
        }
        return this.#messages.shift();
    }
}

async function open(url, options) {
    const socket = new WebSocket(url, options);
    opened.push(socket);
    const reader = new Reader(socket);
    await once(socket, "open", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return Object.assign(socket, { reader, next: () => reader.next() });
}

const closed = async (socket) => (await once(socket, "close", { signal: AbortSignal.timeout(TIMEOUT_MS) }))[0];

for (const [where, url] of [["nginx", nginx], ["a node", nodes[1]]]) {
    test(`echo by ${where}: what is sent comes back`, async () => {
        const socket = await open(`${url}/raw/${channel("echo")}?echo=1`, bearer("ann"));
        // Offered by default: it is agreed upon, and the largest message goes both ways compressed.
        assert.equal(socket.extensions, "permessage-deflate");
        const bytes = Buffer.from([0, 255, 10, 128]);
        for (const message of ["hello", "", "ünïcode 🦀", bytes, "x".repeat(50_000)]) {
            socket.send(message);
            assert.deepEqual(await socket.next(), message);
        }
        socket.close();
        assert.equal(await closed(socket), 1005);
    });
}

test("broadcast: everybody else gets it, on whatever node, and in the same order", async () => {
    const room = channel("broadcast");
    const urls = [nginx, nodes[0], nodes[1], nginx];
    const sockets = await Promise.all(urls.map((url, n) => open(`${url}/raw/${room}?echo=1`, bearer(`user-${n}`))));
    for (const [n, socket] of sockets.entries()) {
        socket.send(`here is ${n}`);
        // Whoever has heard itself hears all that follows.
        while ((await socket.next()) !== `here is ${n}`);
    }
    sockets.forEach((socket, n) => Array.from({ length: 25 }, (_, k) => socket.send(`${n}: ${k}`)));
    const heard = await Promise.all(
        sockets.map(async (socket) => {
            const lines = [];
            while (lines.length < 100) {
                const line = await socket.next();
                if (!line.startsWith("here")) lines.push(line);
            }
            return lines;
        }),
    );
    heard.forEach((lines) => assert.deepEqual(lines, heard[0]));
    assert.equal(new Set(heard[0]).size, 100);
});

test("a drawing board: who comes late first gets every stroke that is kept", async () => {
    const room = channel("drawing");
    const pen = await open(`${nodes[0]}/raw/${room}?echo=1`, bearer("pen"));
    const strokes = Array.from({ length: 40 }, (_, n) => JSON.stringify({ x: n, y: n * n }));
    for (const stroke of strokes) pen.send(stroke);
    for (const stroke of strokes) assert.equal(await pen.next(), stroke);
    const late = await open(`${nginx}/raw/${room}?since=0`, bearer("late"));
    const last = await open(`${nodes[1]}/raw/${room}?last=2`, bearer("last"));
    for (const stroke of strokes) assert.equal(await late.next(), stroke);
    for (const stroke of strokes.slice(-2)) assert.equal(await last.next(), stroke);
    pen.send("live");
    assert.deepEqual([await late.next(), await last.next()], ["live", "live"]);
});

test("a token as the first message lets in, and a wrong one is told and closed", async () => {
    const socket = await open(`${nginx}/ws`);
    const say = async (command) => {
        socket.send(JSON.stringify(command));
        return JSON.parse(await socket.next());
    };
    assert.equal(JSON.parse(await socket.next()).type, "welcome");
    assert.equal((await say({ type: "subscribe", id: 1, channel: "news" })).code, "unauthenticated");
    const authed = await say({ type: "auth", id: 2, token: token("ann") });
    assert.deepEqual([authed.type, authed.id, authed.user], ["authed", 2, "ann"]);
    const news = channel("news");
    assert.equal((await say({ type: "subscribe", id: 3, channel: news })).type, "subscribed");
    const raw = await open(`${nodes[1]}/raw/${news}`, bearer("bob"));
    raw.send("for all");
    const publication = JSON.parse(await socket.next());
    assert.deepEqual([publication.type, publication.data, publication.from.user], ["publication", "for all", "bob"]);

    const wrong = await open(`${nodes[0]}/ws`);
    const code = closed(wrong);
    wrong.send(JSON.stringify({ type: "auth", id: 1, token: "nonsense" }));
    assert.equal(await code, 4001);
    const silent = await open(`${nodes[0]}/raw/${news}`);
    assert.equal(await closed(silent), 4001, "a raw relay has no first message");
});

test("wscat talks to both", async () => {
    const wscat = async (path, message) => {
        const program = new URL("node_modules/wscat/bin/wscat", import.meta.url).pathname;
        const options = ["-c", `${nginx}${path}`, "-H", `Authorization: Bearer ${token("cat")}`, "-x", message, "-w", "2"];
        const { stdout } = await promisify(execFile)(process.execPath, [program, ...options], { timeout: TIMEOUT_MS });
        return stdout;
    };
    const [echoed, native] = await Promise.all([
        wscat(`/raw/${channel("cat")}?echo=1`, "meow"),
        wscat("/ws", '{"type":"ping","id":7}'),
    ]);
    assert.match(echoed, /meow/);
    assert.match(native, /"type":"welcome"/);
    assert.match(native, /\{"type":"pong","id":7\}/);
});
