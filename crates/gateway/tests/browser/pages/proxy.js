/** A wire that can be cut, or let no WebSocket through: stands between a browser and a gateway. */

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Forwards to the host of `target` (an http URL) until it is cut. */
export async function startProxy(target) {
  const { hostname, port } = new URL(target);
  const open = new Set();
  let isCut = false;
  let passesWebSockets = true;
  let refused = 0;
  const server = createServer((near) => {
    near.on("error", () => {});
    if (isCut) return near.destroy();
    const far = connect(Number(port || 80), hostname);
    near.on("data", (chunk) => {
      if (passesWebSockets || !/^upgrade: websocket/im.test(chunk)) return;
      refused += 1;
      near.destroy();
      far.destroy();
    });
    for (const [from, to] of [[near, far], [far, near]]) {
      open.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        open.delete(from);
        to.end();
      });
      from.pipe(to);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    /** Breaks all connections and takes no more. */
    cut() {
      isCut = true;
      for (const socket of open) socket.destroy();
    },
    mend() {
      isCut = false;
    },
    /** Whether handshakes get through from now on. */
    passWebSockets(does) {
      passesWebSockets = does;
    },
    /** How many did not. */
    get refused() {
      return refused;
    },
    async stop() {
      this.cut();
      server.close();
      await once(server, "close");
    },
  };
}
