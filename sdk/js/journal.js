import { RATE_HZ } from "./pcm.js";

const MAX_KEPT_S = 60;

/** What was sent to the ear and has no transcript yet, kept for another connection. */
export class Journal {
  #entries = [];
  /** Samples that are kept, and those before them that are not although they have no transcript. */
  #kept = 0;
  #lost = 0;
  #end = 0;

  /** The position of the oldest audio that is kept, in samples since the session's start. */
  get start() {
    return this.#end - this.#kept;
  }

  get events() {
    return this.#entries.map(({ event }) => event);
  }

  /** Add audio, or with 0 samples another event. */
  add(event, samples) {
    this.#entries.push({ event, samples });
    this.#end += samples;
    this.#kept += samples;
    while (this.#kept > MAX_KEPT_S * RATE_HZ) this.#lost += this.#forget();
  }

  /** All before a position has its transcript. */
  settle(position) {
    while (this.#entries.length > 0 && this.start + this.#entries[0].samples <= position) this.#forget();
    this.#lost = 0;
  }

  /** The first turn that was ended by hand has its transcript. */
  settleTurn() {
    const end = this.#entries.findIndex(({ event }) => event.type === "input_audio_buffer.commit");
    for (let count = end + 1; count > 0; count--) this.#forget();
    while (this.#entries[0]?.event.type === "response.create") this.#forget();
    this.#lost = 0;
  }

  takeLost() {
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }

  #forget() {
    const { samples } = this.#entries.shift();
    this.#kept -= samples;
    return samples;
  }
}
