import { ServerError } from "./errors.js";
import { Closed } from "./socket.js";

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;
/** A connection that breaks sooner counts as another failed attempt. */
const STABLE_MS = 10_000;
const NOTICE_MS = 20;
const WORTH_ANOTHER_TRY = new Set(["unreachable", "connection_lost", "server_full"]);

/**
 * Events in both directions, over one connection after the other.
 *
 * `dial` makes a connection that is ready for use. The listener is told `message(event)`; when the connection breaks
 * `dropped()`, then `reconnecting(attempt, reason)` before each attempt and `reconnected(attempts)`, which returns
 * messages to be sent before all others; and at last `ended(error)`, with null if all went well.
 */
export class Link {
  state = "open";
  #dial;
  #attempts;
  #listener;
  #socket;
  /** Resolves when what was sent before has gone out, so that messages keep their order. */
  #sent = Promise.resolve();
  #ready = Promise.resolve();
  #abandon;
  #abandoned = new Promise((resolve) => (this.#abandon = resolve));
  #attempt = 0;
  #openedAt = 0;

  constructor(dial, attempts, listener) {
    this.#dial = dial;
    this.#attempts = attempts;
    this.#listener = listener;
  }

  /** Rejects with ServerError. */
  async open() {
    await this.#connect();
    void this.#run();
  }

  /**
   * Send an event or bytes, in order. Waits while the network takes no more or the connection is made again; `sent` is
   * called once it has gone out. Throws ServerError.
   */
  send(message, sent = () => {}) {
    const data = message instanceof Uint8Array ? message : JSON.stringify(message);
    const sending = this.#sent.then(() => this.#transmit(data)).then(sent);
    this.#sent = sending.catch(() => {});
    return sending;
  }

  close() {
    this.#end(null);
  }

  async #transmit(data) {
    for (;;) {
      await this.#ready;
      if (this.state === "closed") throw new ServerError("the session is closed", "session_closed");
      try {
        return await this.#socket.send(data);
      } catch (error) {
        if (!this.#mayReconnect(error)) throw error;
        await sleep(NOTICE_MS);
      }
    }
  }

  async #run() {
    try {
      for (;;) {
        const closed = await this.#listen();
        if (this.state === "closed") return;
        if (!this.#mayReconnect(closed)) return this.#end(closed.normal ? null : closed);
        await this.#reconnect(closed);
      }
    } catch (error) {
      this.#end(error);
    }
  }

  async #listen() {
    let last = null;
    try {
      for (;;) {
        last = await this.#socket.receive();
        if (this.state === "closed") return null;
        this.#listener.message(last);
      }
    } catch (error) {
      if (!(error instanceof Closed)) throw error;
      return error.because(last);
    }
  }

  #mayReconnect(error) {
    return this.#attempts > 0 && (error.broken || error.code === "session_expired");
  }

  async #reconnect(closed) {
    this.state = "reconnecting";
    this.#listener.dropped();
    if (performance.now() - this.#openedAt > STABLE_MS) this.#attempt = 0;
    let ready;
    this.#ready = new Promise((resolve) => (ready = resolve));
    try {
      await this.#redial(closed);
      if (this.state === "closed") return;
      this.state = "open";
      for (const message of this.#listener.reconnected(this.#attempt)) await this.#socket.send(JSON.stringify(message));
    } catch (error) {
      if (!(error instanceof Closed)) throw error; // it broke again, which #listen is told too
    } finally {
      ready();
    }
  }

  async #redial(reason) {
    for (;;) {
      if (++this.#attempt > this.#attempts) throw reason;
      this.#listener.reconnecting(this.#attempt, reason.message);
      const pause_ms = Math.min(FIRST_PAUSE_MS * 2 ** (this.#attempt - 1), LONGEST_PAUSE_MS);
      await Promise.race([this.#abandoned, sleep(pause_ms * (0.5 + Math.random() / 2))]);
      if (this.state === "closed") return;
      try {
        return await this.#connect();
      } catch (error) {
        if (!WORTH_ANOTHER_TRY.has(error.code)) throw error;
        reason = error;
      }
    }
  }

  async #connect() {
    this.#socket = await this.#dial();
    this.#openedAt = performance.now();
    if (this.state === "closed") this.#socket.close();
  }

  #end(error) {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#abandon();
    this.#socket.close();
    this.#listener.ended(error);
  }
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
