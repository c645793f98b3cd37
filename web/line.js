/** What goes to the server: the microphone, if there is one, and recorded clips, mixed. */

import { Microphone } from "/sdk/millstream.js";

const MONITOR_GAIN = 0.5;

export class Line {
  #context;
  #mixed;
  #gate;
  #microphone;

  /**
   * Open it in a handler of a click.
   * @param {boolean} withMicrophone
   * @returns {Promise<Line>} Rejects with DeviceError.
   */
  static async open(withMicrophone) {
    const microphone = withMicrophone ? await Microphone.open() : null;
    const context = new AudioContext();
    await context.resume();
    const mixed = context.createMediaStreamDestination();
    const gate = context.createGain();
    gate.connect(mixed);
    if (microphone) context.createMediaStreamSource(microphone.stream).connect(gate);
    return new Line(context, mixed, gate, microphone, await Microphone.from(mixed.stream));
  }

  /**
   * @param {AudioContext} context
   * @param {MediaStreamAudioDestinationNode} mixed
   * @param {GainNode} gate
   * @param {Microphone | null} microphone
   * @param {Microphone} input
   */
  constructor(context, mixed, gate, microphone, input) {
    this.#context = context;
    this.#mixed = mixed;
    this.#gate = gate;
    this.#microphone = microphone;
    /** What a session sends. */
    this.input = input;
  }

  /** Whether a microphone is on it. */
  get live() {
    return this.#microphone !== null;
  }

  /** Silence instead of the microphone while true; clips still go through. */
  set muted(/** @type {boolean} */ value) {
    this.#gate.gain.value = value ? 0 : 1;
  }

  /** Say a recorded clip, once. Without a microphone that would hear it too, it is also played. @param {string} url */
  async say(url) {
    const recorded = await (await fetch(url)).arrayBuffer();
    const source = this.#context.createBufferSource();
    source.buffer = await this.#context.decodeAudioData(recorded);
    source.connect(this.#mixed);
    if (!this.live) {
      const monitor = new GainNode(this.#context, { gain: MONITOR_GAIN });
      source.connect(monitor).connect(this.#context.destination);
    }
    source.start();
  }

  async close() {
    await this.input.close();
    await this.#microphone?.close();
    await this.#context.close();
  }
}
