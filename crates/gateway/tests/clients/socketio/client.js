// Socket.IO clients of the cluster: how they connect, and how a test waits for what they get.
import { io } from "socket.io-client";

/// nginx in front of the nodes.
export const FRONT = process.env.FRONT;

/// The ways in which clients connect.
export const MODES = {
  websocket: ["websocket"],
  polling: ["polling"],
  upgrade: ["polling", "websocket"],
};

const PATIENCE_MS = 20_000;

const open = new Set();

/// A client that nginx takes for one of this network; it is connected when this returns.
export async function connect(mode, { network = 1, namespace = "", url = FRONT, ...options } = {}) {
  const socket = dial(mode, { network, namespace, url, ...options });
  await once(socket, "connect");
  return socket;
}

/// A client that has yet to connect.
export function dial(mode, { network = 1, namespace = "", url = FRONT, ...options } = {}) {
  const socket = io(url + namespace, {
    transports: MODES[mode],
    forceNew: true,
    reconnectionDelay: 100,
    reconnectionDelayMax: 500,
    extraHeaders: { "X-Forwarded-For": `192.0.${network}.1` },
    ...options,
  });
  open.add(socket);
  return socket;
}

/// Has a client closed with the others.
export function track(socket) {
  open.add(socket);
  return socket;
}

/// Closes every client that a test has left.
export function closeAll() {
  for (const socket of open) socket.disconnect();
  open.clear();
}

/// Waits for an event; resolves to its arguments.
export function once(emitter, event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} came`)), PATIENCE_MS);
    emitter.once(event, (...args) => {
      clearTimeout(timer);
      resolve(args);
    });
  });
}

/// Emits, and waits for the answer, which must be good.
export async function ask(socket, event, ...args) {
  const answer = await socket.timeout(PATIENCE_MS).emitWithAck(event, ...args);
  if (answer.status !== "ok") throw new Error(`${event} was refused: ${JSON.stringify(answer)}`);
  return answer;
}

/// Waits until something is so.
export async function until(what, isSo) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`it is not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/// The node that a socket is on: its id begins with it.
export const nodeOf = (socket) => socket.id.split(".")[0];
