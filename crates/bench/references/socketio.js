// Socket.IO with its Redis adapter, as its documentation has it.
import { createAdapter } from '@socket.io/redis-adapter';
import { createServer } from 'node:http';
import { createClient } from 'redis';
import { Server } from 'socket.io';
import { listen, redisUrl, tellReady } from './arguments.js';

const publisher = createClient({ url: redisUrl });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(publisher, subscriber) });
io.on('connection', (socket) => {
    socket.on('subscribe', async (channel) => {
        await socket.join(channel);
        socket.emit('subscribed');
    });
    socket.on('publish', (channel, data) => io.to(channel).emit('publication', data));
});
http.listen(listen.port, listen.host, tellReady);
