import { audioContext } from "./devices.js";
import { DeviceError } from "./errors.js";
import { checkOptions } from "./options.js";
import { RATE_HZ } from "./pcm.js";
import { Resampler } from "./resampler.js";

/** Items that were played or stopped lately; what comes late of a stopped one is dropped. */
const MAX_REMEMBERED = 100;
const METER_SAMPLES = 512;

export class Speaker {
  #context;
  #node;
  #volume;
  #meter;
  #streamMeter;
  #deviceId;
  #meterSamples = new Float32Array(METER_SAMPLES);
  #resampler = null;
  /** How much of each item was given and played, in samples of the context, in order. */
  #items = new Map();
  #stopped = new Set();
  #era = 0;
  #given = 0;
  #played = 0;
  #watchers = new Set();
  #streams = new Map();

  static async open(options = {}) {
    checkOptions(options, ["deviceId"]);
    const context = await audioContext("./playback-worklet.js");
    const speaker = new Speaker(context, options.deviceId);
    try {
      if (options.deviceId) await context.setSinkId(options.deviceId);
    } catch (error) {
      await speaker.close();
      throw new DeviceError("there is no such loudspeaker", "no_device", error);
    }
    return speaker;
  }

  /** Of `open`; `context` has the worklet's module. */
  constructor(context, deviceId = undefined) {
    this.#context = context;
    this.#deviceId = deviceId;
    if (context.sampleRate !== RATE_HZ) this.#resampler = new Resampler(RATE_HZ, context.sampleRate);
    this.#node = new AudioWorkletNode(context, "millstream-playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#volume = new GainNode(context);
    this.#meter = new AnalyserNode(context, { fftSize: METER_SAMPLES });
    this.#streamMeter = new AnalyserNode(context, { fftSize: METER_SAMPLES });
    this.#node.connect(this.#volume).connect(this.#meter).connect(context.destination);
    this.#node.port.onmessage = ({ data }) => this.#report(data);
  }

  get playing() {
    return this.#played < this.#given;
  }

  get queuedS() {
    return (this.#given - this.#played) / this.#context.sampleRate;
  }

  get level() {
    return Math.max(this.#levelAt(this.#meter), this.#levelAt(this.#streamMeter));
  }

  get volume() {
    return this.#volume.gain.value;
  }

  set volume(volume) {
    this.#volume.gain.value = volume;
    for (const { element } of this.#streams.values()) element.volume = volume;
  }

  play(item, pcm) {
    if (this.#stopped.has(item) || pcm.length === 0) return;
    const floats = Float32Array.from(pcm, (sample) => sample / 32_768);
    const samples = this.#resampler?.process(floats) ?? floats;
    const known = this.#items.get(item) ?? { given: 0, played: 0 };
    known.given += samples.length;
    remember(this.#items.set(item, known));
    const began = !this.playing;
    this.#given += samples.length;
    this.#node.port.postMessage(samples, [samples.buffer]);
    if (began) this.#tell();
  }

  stop() {
    const unheard = Math.round(this.#latencyS * this.#context.sampleRate);
    const cuts = [...this.#items]
      .filter(([, { given, played }]) => played < given)
      .map(([item, { played }]) => ({ item, playedS: Math.max(0, played - unheard) / this.#context.sampleRate }));
    for (const item of this.#items.keys()) remember(this.#stopped.add(item));
    this.#items.clear();
    const playing = this.playing;
    this.#given = this.#played = 0;
    this.#node.port.postMessage(++this.#era);
    if (playing) this.#tell();
    return cuts;
  }

  async finished() {
    if (!this.playing) return;
    await new Promise((resolve) => {
      const unwatch = this.watch((playing) => playing || (unwatch(), resolve()));
    });
  }

  /** Call `watcher(playing)` at every change, until the function is called that this returns. */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Play a stream of a peer connection as it comes. Not an item: its sender knows what was heard. */
  attach(stream) {
    const element = new Audio();
    Object.assign(element, { srcObject: stream, volume: this.volume });
    if (this.#deviceId) void element.setSinkId(this.#deviceId);
    void element.play().catch(() => {}); // the stream was detached before it began
    this.#streams.set(stream, { element, source: this.#metered(stream) });
  }

  detach(stream) {
    const { element, source } = this.#streams.get(stream) ?? {};
    source?.disconnect();
    if (element) element.srcObject = null;
    this.#streams.delete(stream);
  }

  /** Firefox connects a stream only to a context of its own rate: there the level of streams is not known. */
  #metered(stream) {
    try {
      const source = new MediaStreamAudioSourceNode(this.#context, { mediaStream: stream });
      source.connect(this.#streamMeter);
      return source;
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
      return null;
    }
  }

  async close() {
    if (this.#context.state === "closed") return;
    this.stop();
    for (const stream of this.#streams.keys()) this.detach(stream);
    this.#node.port.onmessage = null;
    this.#node.disconnect();
    await this.#context.close();
  }

  /** Between the worklet and the ear. */
  get #latencyS() {
    return this.#context.outputLatency || this.#context.baseLatency || 0;
  }

  #levelAt(meter) {
    meter.getFloatTimeDomainData(this.#meterSamples);
    return Math.sqrt(this.#meterSamples.reduce((sum, sample) => sum + sample * sample, 0) / METER_SAMPLES);
  }

  #report({ era, played }) {
    if (era !== this.#era) return;
    let more = played - this.#played;
    this.#played = played;
    for (const item of this.#items.values()) {
      const part = Math.min(more, item.given - item.played);
      item.played += part;
      more -= part;
    }
    if (!this.playing) this.#tell();
  }

  #tell() {
    for (const watcher of [...this.#watchers]) watcher(this.playing);
  }
}

function remember(recent) {
  if (recent.size > MAX_REMEMBERED) recent.delete(recent.keys().next().value);
}
