import { ServerError } from "./errors.js";

const CONNECTING_S = 15;
/** More bytes than this that the network has not taken hold back whoever sends. */
const MAX_BUFFERED_BYTES = 256 * 1024;
const STALLED_MS = 30_000;
const POLL_MS = 20;
const OPEN = 1;
/** A server that is gone or restarting, or a network that broke; but not a session that was ended. */
const BROKEN = new Set([1001, 1005, 1006, 1011, 1012, 1015]);

/** Why a connection is over. `broken`: another may take its place. */
export class Closed extends ServerError {
  constructor({ code, reason }) {
    super(`the connection closed: ${reason || "no reason given"} (${code})`, "connection_lost");
    this.broken = BROKEN.has(code);
    this.normal = code === 1000;
  }

  /** The same, with the reason that the server told last, if it did. */
  because(event) {
    if (event?.type === "error") {
      const { message, code, param } = event.error;
      Object.assign(this, { message, code, param, normal: false });
    }
    return this;
  }
}

/** One WebSocket: JSON events and binary messages. */
export class Socket {
  #websocket;
  #messages = [];
  #closed = null;
  #wake = () => {};

  constructor(websocket) {
    this.#websocket = websocket;
    websocket.binaryType = "arraybuffer";
    websocket.onerror = () => {}; // a close event follows
    websocket.onmessage = ({ data }) => {
      this.#messages.push(data);
      this.#wake();
    };
    websocket.onclose = (event) => {
      this.#closed = new Closed(event);
      this.#wake();
    };
  }

  /** Throws ServerError. */
  static async open(server, path, WebSocket = undefined) {
    const socket = new Socket(new (WebSocket ?? (await webSocket()))(server.socketUrl(path), server.protocols));
    if (await socket.#opened()) return socket;
    socket.close();
    throw await server.explain();
  }

  async #opened() {
    const opening = new Promise((resolve) => {
      this.#websocket.onopen = resolve;
      this.#wake = resolve;
    });
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, CONNECTING_S * 1000)));
    await Promise.race([opening, late]);
    clearTimeout(timer);
    return this.#websocket.readyState === OPEN;
  }

  /** The next event as an object, or binary message as an ArrayBuffer. Throws Closed once there is none. */
  async receive() {
    while (this.#messages.length === 0) {
      if (this.#closed) throw this.#closed;
      await new Promise((resolve) => (this.#wake = resolve));
    }
    const message = this.#messages.shift();
    return typeof message === "string" ? JSON.parse(message) : message;
  }

  /** Send text or bytes. Waits while the network takes no more. Throws Closed. */
  async send(message) {
    await this.#room();
    if (this.#closed || this.#websocket.readyState !== OPEN) throw this.#closed ?? new Closed({ code: 1006 });
    this.#websocket.send(message);
  }

  close() {
    this.#websocket.close(1000);
  }

  async #room() {
    let least = Infinity;
    for (
      let stalledMs = 0;
      !this.#closed && this.#websocket.bufferedAmount > MAX_BUFFERED_BYTES;
      stalledMs += POLL_MS
    ) {
      if (this.#websocket.bufferedAmount < least) stalledMs = 0;
      if (stalledMs >= STALLED_MS) return this.#abandon();
      least = Math.min(least, this.#websocket.bufferedAmount);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** A network that is gone without a word would be noticed by nobody for minutes. */
  #abandon() {
    this.#websocket.onclose = this.#websocket.onmessage = null;
    this.#websocket.close();
    this.#closed = new Closed({ code: 1006, reason: `the network has taken nothing for ${STALLED_MS / 1000} s` });
    this.#wake();
  }
}

async function webSocket() {
  if (globalThis.WebSocket) return globalThis.WebSocket;
  const name = "ws"; // no literal, or bundlers would want it for browsers
  try {
    return (await import(name)).WebSocket;
  } catch (error) {
    throw new TypeError("this runtime has no WebSocket: install the package ws, or pass one as the option WebSocket", {
      cause: error,
    });
  }
}
