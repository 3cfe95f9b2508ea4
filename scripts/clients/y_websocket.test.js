// y-websocket as its users have it, with the raw relay in the place of its server: peers answer one another.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import WebSocket from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";
import { channel, nodes, token } from "./cluster.js";

const opened = [];
// Awareness has a timer of its own, which ends with the document.
after(() => opened.forEach((provider) => (provider.destroy(), provider.doc.destroy())));

/** Somebody with the document of a room open, connected to this node. */
function open(node, room, user, { doc = new Y.Doc(), params = {}, connect = true } = {}) {
    const protocols = ["gateway.v1.raw", `gateway.bearer.${token(user)}`];
    // Without disableBc all of them would talk to one another inside of this process.
    const options = { WebSocketPolyfill: WebSocket, disableBc: true, protocols, params, connect };
    const provider = new WebsocketProvider(`${nodes[node]}/raw`, room, doc, options);
    opened.push(provider);
    return { doc, provider, text: doc.getText("text"), map: doc.getMap("map") };
}

/** Waits until something holds of these people's documents; it is asked after each change of one of them. */
function until(people, holds, what) {
    return new Promise((resolve, reject) => {
        const deadline = setTimeout(() => reject(new Error(`${what} has not come within 15 s`)), 15_000);
        const ask = () => {
            if (!holds()) return;
            clearTimeout(deadline);
            people.forEach(({ doc }) => doc.off("update", ask));
            resolve();
        };
        people.forEach(({ doc }) => doc.on("update", ask));
        ask();
    });
}

const shows = (person, text) => until([person], () => person.text.toString() === text, `"${text}"`);

/** With `echo` somebody's own question comes back, and so says that the room is heard. */
const heard = { params: { echo: "1" } };

const synced = (person) =>
    person.provider.synced ? Promise.resolve() : new Promise((resolve) => person.provider.once("sync", resolve));

const connected = (person) =>
    person.provider.wsconnected
        ? Promise.resolve()
        : new Promise((resolve) => person.provider.on("status", ({ status }) => status === "connected" && resolve()));

test("two people on two nodes edit one document, and a third gets it from them", async () => {
    const room = channel("document");
    const ann = open(0, room, "ann", heard);
    ann.text.insert(0, "Dear");
    await synced(ann);
    const bob = open(1, room, "bob");
    await synced(bob);
    await shows(bob, "Dear");
    bob.text.insert(4, " all");
    await shows(ann, "Dear all");

    // Both at once, in the same place, many times: whatever comes of it, they agree.
    for (let round = 0; round < 50; round++) {
        ann.text.insert(round, "a");
        bob.text.insert(round, "b");
        ann.map.set(`ann-${round}`, round);
        bob.map.set("last", round);
        if (round % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const agree = () =>
        ann.text.length === 108 &&
        ann.text.toString() === bob.text.toString() &&
        bob.map.size === 51 &&
        ann.map.size === 51 &&
        // What bob said last of all.
        ann.map.get("last") === 49;
    await until([ann, bob], agree, "agreement");
    assert.deepEqual(ann.map.toJSON(), bob.map.toJSON());
    assert.equal(ann.text.toString().match(/a/g).length, 52);

    const carl = open(1, room, "carl");
    await synced(carl);
    await shows(carl, ann.text.toString());
    assert.deepEqual(carl.map.toJSON(), ann.map.toJSON());
    carl.text.insert(0, "! ");
    await Promise.all([shows(ann, carl.text.toString()), shows(bob, carl.text.toString())]);
});

test("everybody sees who else is there, by awareness", async () => {
    const room = channel("awareness");
    const ann = open(0, room, "ann", heard);
    await synced(ann);
    const bob = open(1, room, "bob");
    const seen = new Promise((resolve) =>
        ann.provider.awareness.on("change", () => {
            const others = [...ann.provider.awareness.getStates().values()].map((state) => state.name);
            if (others.includes("bob")) resolve();
        }),
    );
    await synced(bob);
    bob.provider.awareness.setLocalState({ name: "bob", cursor: 3 });
    await seen;
});

test("with since=0 a document outlives its editors, and what was written alone is brought along", async () => {
    const room = channel("history");
    const kept = { params: { since: "0" } };
    const ann = open(0, room, "ann", kept);
    await connected(ann);
    ann.text.insert(0, "left behind");
    // Ann's last update is in the history once somebody else has it.
    const witness = open(0, room, "witness");
    await shows(witness, "left behind");
    witness.provider.destroy();
    ann.provider.destroy();

    const bob = open(1, room, "bob", kept);
    await shows(bob, "left behind");

    // Carl wrote before he was connected: bob's question is in the history, so carl answers it.
    const alone = new Y.Doc();
    alone.getText("text").insert(0, "alone, ");
    const carl = open(0, room, "carl", { ...kept, doc: alone });
    const both = () => bob.text.toString() === carl.text.toString() && bob.text.length === 18;
    await until([bob, carl], both, "what both have");
});
