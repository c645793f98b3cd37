import { ServerError, fromProtocol } from "./errors.js";

const MAX_BUFFERED_BYTES = 256 * 1024;

/** A data channel: JSON events in both directions. */
export class Channel {
  /** Resolves when the server has taken what is sent first. */
  greeted;
  #channel;
  #greeting;
  #settle;
  #message = null;
  #closed = () => {};
  #last = null;
  #sent = Promise.resolve();

  constructor(channel, greeting) {
    this.#channel = channel;
    this.#greeting = greeting;
    this.greeted = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.greeted.catch(() => {}); // whoever awaits it is told
    channel.bufferedAmountLowThreshold = MAX_BUFFERED_BYTES / 2;
    channel.onopen = () => greeting.event && channel.send(JSON.stringify(greeting.event));
    channel.onmessage = ({ data }) => this.#take(JSON.parse(data));
    channel.onclose = () => this.#close();
  }

  /** Call `message(event)` for each event from now on, and `closed(error)` when there are no more. */
  listen(message, closed) {
    this.#message = message;
    this.#closed = closed;
  }

  /** Send an event, in order. Waits while the network takes no more. Throws ServerError. */
  send(event) {
    const sending = this.#sent.then(() => this.#transmit(JSON.stringify(event)));
    this.#sent = sending.catch(() => {});
    return sending;
  }

  get isOpen() {
    return this.#channel.readyState === "open";
  }

  close() {
    this.#channel.onclose = null;
    this.#channel.close();
    this.#channel.dispatchEvent(new Event("bufferedamountlow"));
  }

  async #transmit(text) {
    while (this.isOpen && this.#channel.bufferedAmount > MAX_BUFFERED_BYTES) {
      await new Promise((resolve) => this.#channel.addEventListener("bufferedamountlow", resolve, { once: true }));
    }
    if (!this.isOpen) throw new ServerError("the session is closed", "session_closed");
    this.#channel.send(text);
  }

  #take(event) {
    this.#last = event;
    if (this.#message) this.#message(event);
    else if (event.type === this.#greeting.after) this.#settle.resolve();
    else if (event.type === "error") this.#settle.reject(fromProtocol(event.error));
  }

  #close() {
    const { type, error } = this.#last ?? {};
    const reason =
      type === "error" ? fromProtocol(error) : new ServerError("the server ended the call", "connection_lost");
    this.#settle.reject(reason);
    this.#closed(reason);
  }
}
