/** Zero crossings of the sinc on either side. */
const CROSSINGS = 16;
/** Entries of the kernel's table between two of them; what lies between is interpolated. */
const PRECISION = 128;
/** Share of the lower rate's band that is passed on. */
const ROLLOFF = 0.92;

/** Streaming sample rate conversion: a sinc under a Blackman window, tabulated. Samples are floats. */
export class Resampler {
  #step;
  #stretch;
  #reach;
  #table;
  #input;
  /** Of the next output, in samples of `#input`. */
  #position;

  constructor(fromHz, toHz) {
    this.#step = fromHz / toHz;
    this.#stretch = ROLLOFF * Math.min(1, toHz / fromHz);
    this.#reach = Math.ceil(CROSSINGS / this.#stretch);
    this.#table = kernel(this.#stretch);
    this.#input = new Float32Array(this.#reach);
    this.#position = this.#reach;
  }

  /** What comes out once `samples` are in; the last few wait for those that follow them. */
  process(samples) {
    const input = new Float32Array(this.#input.length + samples.length);
    input.set(this.#input);
    input.set(samples, this.#input.length);
    const count = Math.max(0, Math.ceil((input.length - this.#reach - this.#position) / this.#step));
    const output = Float32Array.from({ length: count }, (_, index) =>
      this.#at(input, this.#position + index * this.#step),
    );
    this.#position += count * this.#step;
    const done = Math.max(0, Math.floor(this.#position) - this.#reach);
    this.#input = input.slice(done);
    this.#position -= done;
    return output;
  }

  #at(input, position) {
    const last = Math.min(Math.floor(position) + this.#reach, input.length - 1);
    let sum = 0;
    for (let index = Math.max(0, Math.ceil(position) - this.#reach); index <= last; index++) {
      const place = Math.abs(index - position) * this.#stretch * PRECISION;
      const entry = Math.floor(place);
      if (entry >= this.#table.length - 1) continue;
      sum += input[index] * (this.#table[entry] + (place - entry) * (this.#table[entry + 1] - this.#table[entry]));
    }
    return sum;
  }
}

function kernel(stretch) {
  return Float32Array.from({ length: CROSSINGS * PRECISION + 1 }, (_, entry) => {
    const x = entry / PRECISION;
    const turn = (Math.PI * x) / CROSSINGS;
    const window = 0.42 + 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn);
    return stretch * window * (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  });
}
