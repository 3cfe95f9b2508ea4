// Publishes by the gateways' Redis: node publish.mjs redis://localhost CHANNEL JSON. Needs `npm install @redis/client`.
import { readFile } from "node:fs/promises";
import { createClient } from "@redis/client";

const [url, channel, data] = process.argv.slice(2);
const script = await readFile(new URL("publish.lua", import.meta.url), "utf8");
const redis = await createClient({ url }).connect();
const [epoch, offset] = await redis.eval(script, { keys: [`gw:{${channel}}`], arguments: [data, "event", "greeting"] });
console.log(epoch, offset);
await redis.close();
