import { Resampler } from "./resampler.js";

const RATE_HZ = 24_000;
const PIECE_SAMPLES = 960;

/** Posts what it hears as Int16Arrays of 40 ms at 24 kHz. */
class Capture extends AudioWorkletProcessor {
  #resampler = sampleRate === RATE_HZ ? null : new Resampler(sampleRate, RATE_HZ);
  #piece = new Int16Array(PIECE_SAMPLES);
  #filled = 0;

  process([[heard]]) {
    const samples = heard ?? new Float32Array(128);
    for (const sample of this.#resampler?.process(samples) ?? samples) this.#add(sample);
    return true;
  }

  #add(sample) {
    this.#piece[this.#filled++] = Math.round(Math.max(-1, Math.min(1, sample)) * 32_767);
    if (this.#filled < PIECE_SAMPLES) return;
    this.port.postMessage(this.#piece, [this.#piece.buffer]);
    this.#piece = new Int16Array(PIECE_SAMPLES);
    this.#filled = 0;
  }
}

registerProcessor("millstream-capture", Capture);
