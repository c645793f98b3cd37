import { audioContext, deviceStream } from "./devices.js";
import { DeviceError } from "./errors.js";
import { checkOptions } from "./options.js";
import { RATE_HZ, loudness } from "./pcm.js";
import { Tap } from "./tap.js";

const OPTIONS = ["deviceId", "echoCancellation", "noiseSuppression", "autoGainControl"];
const MODULE = "./capture-worklet.js";

export class Microphone {
  stream;
  ended;
  level = 0;
  #context;
  #node;
  #taps = new Set();
  #end;

  static async open(options = {}) {
    checkOptions(options, OPTIONS);
    const { deviceId, echoCancellation = true, noiseSuppression = true, autoGainControl = true } = options;
    const wanted = { echoCancellation, noiseSuppression, autoGainControl, channelCount: 1 };
    const audio = deviceId ? { ...wanted, deviceId: { exact: deviceId } } : wanted;
    const stream = await deviceStream("microphone", { audio });
    return captured(stream);
  }

  static async from(source) {
    if (source instanceof MediaStream) return captured(source.clone());
    const context = await audioContext(MODULE);
    const clip = source instanceof Blob ? await context.decodeAudioData(await source.arrayBuffer()) : source;
    const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    const player = new AudioBufferSourceNode(context, { buffer: clip });
    player.connect(destination);
    const microphone = new Microphone(context, destination.stream);
    player.onended = () => microphone.#end();
    player.start();
    return microphone;
  }

  /** Of `open` and `from`; `context` has the worklet's module. NotSupportedError: its rate cannot be the stream's. */
  constructor(context, stream) {
    const source = new MediaStreamAudioSourceNode(context, { mediaStream: stream });
    this.#context = context;
    this.stream = stream;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    const channels = { channelCount: 1, channelCountMode: "explicit" };
    this.#node = new AudioWorkletNode(context, "millstream-capture", { numberOfOutputs: 0, ...channels });
    this.#node.port.onmessage = ({ data }) => this.#hear(data);
    source.connect(this.#node);
    for (const track of stream.getAudioTracks()) track.onended = () => this.#gone();
  }

  get muted() {
    return !audioTrack(this.stream).enabled;
  }

  set muted(muted) {
    for (const track of this.stream.getAudioTracks()) track.enabled = !muted;
  }

  /** An iterator of its own over what is heard from now on; `takeLostS()` tells how much nobody took in time. */
  tap() {
    const tap = new Tap(() => this.#taps.delete(tap));
    this.#taps.add(tap);
    if (this.#context.state === "closed") tap.end();
    return tap;
  }

  async close() {
    if (this.#context.state === "closed") return;
    for (const track of this.stream.getTracks()) track.stop();
    this.#node.port.onmessage = null;
    this.#node.disconnect();
    for (const tap of this.#taps) tap.end();
    this.#end();
    await this.#context.close();
  }

  [Symbol.asyncIterator]() {
    return this.tap();
  }

  #hear(piece) {
    this.level = loudness(piece);
    for (const tap of this.#taps) tap.push(piece);
  }

  #gone() {
    this.#end();
    const error = new DeviceError("the microphone is gone", "gone");
    for (const tap of this.#taps) tap.end(error);
  }
}

/** A microphone that hears a stream of its own, which is stopped if it cannot. */
async function captured(stream) {
  try {
    const { sampleRate } = audioTrack(stream).getSettings();
    return (await heard(stream, RATE_HZ)) ?? (await heard(stream, sampleRate));
  } catch (error) {
    for (const track of stream.getTracks()) track.stop();
    throw error;
  }
}

/** Null if the browser (Firefox) connects the stream only to a context of its own rate; the worklet then resamples. */
async function heard(stream, sampleRate) {
  const context = await audioContext(MODULE, { sampleRate });
  try {
    return new Microphone(context, stream);
  } catch (error) {
    await context.close();
    if (error.name === "NotSupportedError" && sampleRate === RATE_HZ) return null;
    throw error;
  }
}

function audioTrack(stream) {
  const [track] = stream.getAudioTracks();
  if (!track) throw new TypeError("the stream has no audio");
  return track;
}
