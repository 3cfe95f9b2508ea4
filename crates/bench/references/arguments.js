// What the harness starts a reference with: --listen HOST:PORT --redis URL.
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { listen: { type: 'string' }, redis: { type: 'string' } } });
const [host, port] = values.listen.split(':');

export const listen = { host, port: Number(port) };
export const redisUrl = values.redis;
export const tellReady = () => console.log('ready');
