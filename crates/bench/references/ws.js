// ws and ioredis, as tutorials have it: one Redis topic for all, and a send for each message and client.
import Redis from 'ioredis';
import { WebSocket, WebSocketServer } from 'ws';
import { listen, redisUrl, tellReady } from './arguments.js';

const TOPIC = 'tutorial';
const publisher = new Redis(redisUrl);
const subscriber = new Redis(redisUrl);
const rooms = new Map();

subscriber.on('message', (_topic, message) => {
    const { room, text } = JSON.parse(message);
    for (const client of rooms.get(room) ?? []) {
        if (client.readyState === WebSocket.OPEN) client.send(text);
    }
});
await subscriber.subscribe(TOPIC);

let connections = 0;
const server = new WebSocketServer({ ...listen, perMessageDeflate: false });
server.on('listening', tellReady);
server.on('connection', (socket) => {
    const client = `ws-${connections++}`;
    const joined = new Set();
    socket.on('message', (message) => {
        const { type, channel, data } = JSON.parse(message);
        if (type === 'subscribe') {
            if (!rooms.has(channel)) rooms.set(channel, new Set());
            rooms.get(channel).add(socket);
            joined.add(channel);
            socket.send(JSON.stringify({ type: 'subscribed', id: 1 }));
        } else {
            const text = JSON.stringify({ type: 'publication', channel, time: Date.now(), from: { client }, data });
            publisher.publish(TOPIC, JSON.stringify({ room: channel, text }));
        }
    });
    socket.on('close', () => joined.forEach((room) => rooms.get(room).delete(socket)));
    socket.on('error', () => {});
});
