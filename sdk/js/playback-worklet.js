const REPORT_SAMPLES = 512;
/** A stop fades out over so many samples: a cut would click. */
const FADE_SAMPLES = 128;

/**
 * Plays Float32Arrays one after the other, and posts how many samples have been played since the last stop.
 *
 * Messages in: an array, or a number that stops and names what follows. Out: `{era, played}`.
 */
class Playback extends AudioWorkletProcessor {
  #queue = [];
  #offset = 0;
  #era = 0;
  #played = 0;
  #reported = 0;
  #fading = null;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => (typeof data === "number" ? this.#stop(data) : this.#queue.push(data));
  }

  process(_, [[output]]) {
    let filled = this.#fade(output);
    while (filled < output.length && this.#queue.length > 0) filled = this.#fill(output, filled);
    if (
      this.#played - this.#reported >= REPORT_SAMPLES ||
      (this.#queue.length === 0 && this.#played > this.#reported)
    ) {
      this.port.postMessage({ era: this.#era, played: this.#played });
      this.#reported = this.#played;
    }
    return true;
  }

  #fill(output, filled) {
    const samples = this.#queue[0].subarray(this.#offset, this.#offset + output.length - filled);
    output.set(samples, filled);
    this.#offset += samples.length;
    this.#played += samples.length;
    if (this.#offset === this.#queue[0].length) {
      this.#queue.shift();
      this.#offset = 0;
    }
    return filled + samples.length;
  }

  #stop(era) {
    this.#fading = this.#queue[0]?.subarray(this.#offset, this.#offset + FADE_SAMPLES) ?? null;
    this.#queue = [];
    this.#offset = this.#played = this.#reported = 0;
    this.#era = era;
  }

  #fade(output) {
    if (!this.#fading) return 0;
    const count = Math.min(output.length, this.#fading.length);
    for (let index = 0; index < count; index++) output[index] = this.#fading[index] * (1 - index / FADE_SAMPLES);
    this.#fading = null;
    return count;
  }
}

registerProcessor("millstream-playback", Playback);
