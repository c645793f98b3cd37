import { EventQueue } from "./event-queue.js";

/** What all sessions share: a link to the server, which a subclass sets, and the events for whoever iterates. */
export class Session {
  _link;
  #events = new EventQueue(() => this.close());
  #release = () => {};

  get state() {
    return this._link.state;
  }

  get stream() {
    return this._link.stream ?? null;
  }

  close() {
    this._link.close();
  }

  [Symbol.asyncIterator]() {
    return this.#events[Symbol.asyncIterator]();
  }

  /** Rejects with ServerError. */
  async _open(signal) {
    signal?.throwIfAborted();
    await this._link.open();
    if (signal?.aborted) this.close();
    const stop = () => this.close();
    signal?.addEventListener("abort", stop);
    this.#release = () => signal?.removeEventListener("abort", stop);
  }

  /** A link's listener, without what is told of messages and the end. */
  get _watcher() {
    return {
      reconnecting: (attempt, reason) => this._push({ type: "reconnecting", attempt, reason }),
      resumed: (attempts) => this._push({ type: "reconnected", attempts, lostS: 0 }),
    };
  }

  _push(event) {
    this.#events.push(event);
  }

  /** The iteration ends, with an error if there is one. */
  _end(error) {
    this.#release();
    this.#events.end(error);
  }

  _fail(error) {
    this._end(error);
    this.close();
  }
}
