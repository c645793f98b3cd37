import { RATE_HZ } from "./pcm.js";

const MAX_WAITING_S = 10;

/** What a microphone hears, for one reader. What it does not take within ten seconds is lost, the oldest first. */
export class Tap {
  #pieces = [];
  #waiting = 0;
  #lost = 0;
  #readers = [];
  #over = false;
  #error = null;
  #release;

  constructor(release) {
    this.#release = release;
  }

  push(piece) {
    const reader = this.#readers.shift();
    if (reader) return reader.resolve({ value: piece, done: false });
    this.#pieces.push(piece);
    this.#waiting += piece.length;
    while (this.#waiting > MAX_WAITING_S * RATE_HZ) this.#lost += this.#shift().length;
  }

  end(error = null) {
    this.#over = true;
    this.#error ??= error;
    for (const reader of this.#readers.splice(0)) this.#finish(reader);
  }

  /** Seconds that were lost since it was last asked. */
  takeLostS() {
    const lostS = this.#lost / RATE_HZ;
    this.#lost = 0;
    return lostS;
  }

  async next() {
    if (this.#pieces.length > 0) return { value: this.#shift(), done: false };
    return new Promise((resolve, reject) => {
      const reader = { resolve, reject };
      if (this.#over) this.#finish(reader);
      else this.#readers.push(reader);
    });
  }

  async return() {
    this.end();
    this.#release();
    return { value: undefined, done: true };
  }

  #shift() {
    const piece = this.#pieces.shift();
    this.#waiting -= piece.length;
    return piece;
  }

  #finish({ resolve, reject }) {
    if (this.#error) reject(this.#error);
    else resolve({ value: undefined, done: true });
  }
}
