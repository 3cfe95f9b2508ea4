// The cluster that scripts/test has started, and tokens for it.

import { createHmac, randomUUID } from "node:crypto";

const { NODES, NGINX, SECRET } = process.env;
if (!NODES || !NGINX || !SECRET) throw new Error("run scripts/test clients: it starts the cluster that NODES, NGINX and SECRET name");

/** The nodes' own addresses, `ws://host:port`. */
export const nodes = NODES.split(",");

/** nginx, which picks a node by the client's address. */
export const nginx = NGINX;

/** A channel that no other test uses. */
export const channel = (name) => `${name}-${randomUUID()}`;

/** A signed token (RFC 7519) of a user. */
export function token(user) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 600 })}`;
    return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

/** The header that shows it. */
export const bearer = (user) => ({ headers: { Authorization: `Bearer ${token(user)}` } });
