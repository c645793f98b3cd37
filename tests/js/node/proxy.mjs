/** A TCP proxy in front of a server, that loses its connections when it is told to. */

import { once } from "node:events";
import net from "node:net";

export async function proxied(url) {
  const { hostname, port } = new URL(url);
  const open = new Set();
  const proxy = { url: "", accepted: 0, refusing: false, cut, stall, close };
  const listening = net.createServer((client) => {
    proxy.accepted += 1;
    if (proxy.refusing) return client.resetAndDestroy();
    const there = net.connect(Number(port), hostname);
    for (const [socket, other] of [
      [client, there],
      [there, client],
    ]) {
      open.add(socket);
      socket.on("error", () => {}); // a close follows
      socket.on("close", () => (open.delete(socket), other.destroy()));
      socket.pipe(other);
    }
  });
  await once(listening.listen(0, "127.0.0.1"), "listening");
  proxy.url = `http://127.0.0.1:${listening.address().port}`;

  function cut() {
    for (const socket of open) socket.resetAndDestroy();
  }

  /** Take no more from the clients that there are. */
  function stall() {
    for (const socket of open) socket.unpipe().pause();
  }

  function close() {
    cut();
    listening.close();
  }

  return proxy;
}
