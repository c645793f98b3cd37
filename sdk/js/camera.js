import { deviceStream } from "./devices.js";
import { DeviceError } from "./errors.js";
import { checkOptions } from "./options.js";

const TICKS_PER_MS = 90;
/** Pixels; no worker paints larger ones in real time. */
const MAX_SIDE = 512;
const JPEG_QUALITY = 0.85;

export class Camera {
  #video;
  #owned;
  #stream;
  #canvas = new OffscreenCanvas(1, 1);
  #drawing = this.#canvas.getContext("2d", { alpha: false });
  #pts = -1;
  #closed = false;
  #error = null;
  #wake = () => {};

  static async open(options = {}) {
    checkOptions(options, ["deviceId", "facingMode"]);
    const { deviceId, facingMode } = options;
    const video = {
      width: { ideal: 640 },
      height: { ideal: 480 },
      facingMode,
      deviceId: deviceId && { exact: deviceId },
    };
    return shown(await deviceStream("camera", { video }));
  }

  static async from(source) {
    if (source instanceof HTMLVideoElement) return new Camera(source, null);
    if (source.getVideoTracks().length === 0) throw new TypeError("the stream has no video");
    return shown(source.clone());
  }

  /** Of `open` and `from`; `owned` is the stream that `video` shows, if it is ours. */
  constructor(video, owned) {
    this.#video = video;
    this.#owned = this.#stream = owned;
    for (const track of owned?.getVideoTracks() ?? []) track.onended = () => this.#gone();
  }

  get stream() {
    this.#stream ??= captured(this.#video);
    return this.#stream;
  }

  close() {
    this.#closed = true;
    this.#wake();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    if (this.#owned) this.#video.srcObject = null;
  }

  [Symbol.asyncIterator]() {
    return { next: () => this.#next(), return: async () => ({ value: undefined, done: true }) };
  }

  async #next() {
    await this.#fresh();
    if (this.#error) throw this.#error;
    if (this.#closed) return { value: undefined, done: true };
    const { videoWidth: width, videoHeight: height } = this.#video;
    const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    this.#drawing.drawImage(this.#video, 0, 0, this.#canvas.width, this.#canvas.height);
    this.#pts = Math.max(this.#pts + 1, Math.round(performance.now() * TICKS_PER_MS));
    const picture = await this.#canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
    return { value: { picture, pts: this.#pts }, done: false };
  }

  #gone() {
    this.#error = new DeviceError("the camera is gone", "gone");
    this.#wake();
  }

  /** Resolves when the video shows a picture that was not taken yet, or the camera is closed or gone. */
  #fresh() {
    return new Promise((resolve) => {
      this.#wake = resolve;
      if (this.#closed || this.#error) resolve();
      else this.#video.requestVideoFrameCallback(resolve);
    });
  }
}

async function shown(stream) {
  const video = document.createElement("video");
  Object.assign(video, { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  return new Camera(video, stream);
}

function captured(video) {
  if (!video.captureStream)
    throw new DeviceError("this browser does not make a stream of a video element", "unsupported");
  return video.captureStream();
}
