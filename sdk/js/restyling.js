import { Call } from "./call.js";
import { ServerError, fromProtocol } from "./errors.js";
import { greeted } from "./greeting.js";
import { Link } from "./link.js";
import { checkSessionOptions } from "./options.js";
import { Picture } from "./picture.js";
import { Server } from "./server.js";
import { Session } from "./session.js";
import { merged } from "./session-config.js";

const FIELDS = ["negative_prompt", "over_frames", "fit", "filter", "denoising"];
const FINISH = { type: "finish" };
const PATH = "/v1/live";
const PTS_BYTES = 8;
const HEADER_BYTES = 12;
/** The camera's pictures that may be without an answer: one in work and one on its way. */
const MAX_UNANSWERED = 2;

export async function restyle(prompt, options = {}) {
  return Restyling.open(prompt, checkSessionOptions(options, [...FIELDS, "camera", "canvas"], ["websocket", "webrtc"]));
}

class Restyling extends Session {
  dropped = 0;
  #restyle;
  /** What it was before the last change, which may be refused. */
  #before;
  /** When each picture without an answer was sent, by its pts. */
  #sentAt = new Map();
  #answered = () => {};
  #lost = 0;
  #finishing = false;
  #canvas;

  static async open(prompt, { signal, camera, ...options }) {
    const restyling = new Restyling(prompt, options, camera);
    await restyling._open(signal);
    if (camera && !restyling.stream) void restyling.#follow(camera);
    return restyling;
  }

  constructor(prompt, { WebSocket, reconnectAttempts, transport, canvas, ...options }, camera) {
    super();
    const server = new Server(options);
    const fields = FIELDS.filter((name) => name in options).map((name) => [name, options[name]]);
    this.#restyle = this.#before = { type: "restyle", prompt, ...Object.fromEntries(fields) };
    this.#canvas = canvas && new Picture(canvas);
    const listener = {
      ...this._watcher,
      message: (message) => this.#take(message),
      dropped: () => this.#drop(),
      reconnected: (attempts) => this.#beginAgain(attempts),
      ended: (error) => this._end(error),
    };
    const greeting = () => ({ event: this.#restyle, after: "ready" });
    if (transport === "webrtc") {
      if (!camera) throw new TypeError("over WebRTC the option camera is needed");
      const tracks = [{ kind: "video", stream: camera.stream }];
      this._link = new Call(server, { channel: "live", tracks, greeting }, reconnectAttempts, listener);
    } else {
      this._link = new Link(() => greeted(server, PATH, WebSocket, greeting()), reconnectAttempts, listener);
    }
  }

  async send(picture, pts) {
    if (this.stream) throw new TypeError("over WebRTC pictures are sent by the camera");
    const data = picture instanceof Blob ? await picture.arrayBuffer() : picture;
    const message = new Uint8Array(PTS_BYTES + data.byteLength);
    new DataView(message.buffer).setBigUint64(0, BigInt(pts));
    message.set(data instanceof Uint8Array ? data : new Uint8Array(data), PTS_BYTES);
    await this._link.send(message, () => this.#sentAt.set(pts, performance.now()));
  }

  async change(fields) {
    this.#before = this.#restyle;
    this.#restyle = merged(this.#restyle, fields);
    await this._link.send({ type: "restyle", ...fields });
  }

  async finish() {
    await this._link.send(FINISH, () => (this.#finishing = true));
  }

  async #follow(camera) {
    try {
      for await (const { picture, pts } of camera) {
        if (this.state === "closed") return;
        await this.send(picture, pts);
        while (this.#sentAt.size >= MAX_UNANSWERED) await new Promise((resolve) => (this.#answered = resolve));
      }
    } catch (error) {
      if (this.state !== "closed") this._fail(error);
    }
  }

  #take(message) {
    if (message instanceof ArrayBuffer) return this.#restyled(message);
    const { type, pts, dropped = 0 } = message;
    this.dropped += dropped;
    switch (type) {
      case "restyled":
        return this._push({ type, pts, picture: null, dropped, delayMs: message.delay_ms });
      case "unchanged":
      case "held":
        return this.#answer({ type, pts });
      case "unreadable":
        return this.#answer({ type, pts, message: message.message });
      case "finished":
        return this.close();
      case "error": {
        const { code, message: text, param = null } = message.error;
        if (param === "restyle") this.#restyle = this.#before;
        return this._push({ type: "refused", code, message: text, param });
      }
    }
  }

  #restyled(message) {
    const header = new DataView(message);
    const pts = Number(header.getBigUint64(0));
    const dropped = header.getUint32(PTS_BYTES);
    const picture = new Uint8Array(message, HEADER_BYTES);
    this.dropped += dropped;
    this.#canvas?.draw(picture);
    this.#answer({ type: "restyled", pts, picture, dropped, delayMs: performance.now() - this.#sentAt.get(pts) });
  }

  /** A picture's answer tells that those before it have none to come. */
  #answer(event) {
    for (const pts of this.#sentAt.keys()) if (pts <= event.pts) this.#sentAt.delete(pts);
    this.#answered();
    this._push(event);
  }

  #drop() {
    this.#lost = this.#sentAt.size;
    this.dropped += this.#lost;
    this.#sentAt.clear();
    this.#answered();
  }

  #beginAgain(attempts) {
    this._push({ type: "reconnected", attempts, lostPictures: this.#lost });
    return this.#finishing ? [FINISH] : [];
  }

  _end(error) {
    this.#answered();
    super._end(error);
  }
}
