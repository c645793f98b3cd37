import { ServerError } from "./errors.js";

const MAX_UNREAD = 10_000;

/** Events that wait for `for await`. What comes after the end is dropped. */
export class EventQueue {
  #events = [];
  #readers = [];
  #overflown;
  #over = false;
  #error = null;

  /** `overflown()` is called when so many events are unread that the queue ends. */
  constructor(overflown) {
    this.#overflown = overflown;
  }

  push(event) {
    if (this.#over) return;
    const reader = this.#readers.shift();
    if (reader) return reader.resolve({ value: event, done: false });
    if (this.#events.length < MAX_UNREAD) return this.#events.push(event);
    this.end(new ServerError(`${MAX_UNREAD} events were not read`, "events_unread"));
    this.#overflown();
  }

  /** No more come; with an error, the reader that has read the rest is told. */
  end(error = null) {
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    for (const reader of this.#readers.splice(0)) this.#finish(reader);
  }

  [Symbol.asyncIterator]() {
    return { next: () => this.#next() };
  }

  #next() {
    if (this.#events.length > 0) return Promise.resolve({ value: this.#events.shift(), done: false });
    return new Promise((resolve, reject) => {
      const reader = { resolve, reject };
      if (this.#over) this.#finish(reader);
      else this.#readers.push(reader);
    });
  }

  #finish({ resolve, reject }) {
    const error = this.#error;
    this.#error = null;
    if (error) reject(error);
    else resolve({ value: undefined, done: true });
  }
}
