import { Call, voiceCall } from "./call.js";
import { COMMIT, Ear, follow } from "./ear.js";
import { ServerError, fromProtocol } from "./errors.js";
import { greeted } from "./greeting.js";
import { HEARING_OPTIONS, hearing } from "./hearing.js";
import { Link } from "./link.js";
import { checkSessionOptions, given } from "./options.js";
import { Server } from "./server.js";
import { Session } from "./session.js";
import { SessionConfig } from "./session-config.js";

const OPTIONS = [...HEARING_OPTIONS, "turnDetection", "microphone"];
/** `event_id` of a commit that can only be refused, since the buffer was just committed: the refusal marks the end. */
const END_MARK = "end";
const COMMIT_EMPTY = "input_audio_buffer_commit_empty";
/** The server reads more slowly for a while; nothing is lost, and `send` waits. */
const SLOWED_DOWN = "rate_limit_exceeded";

export async function transcribe(options = {}) {
  return Transcription.open(checkSessionOptions(options, OPTIONS, ["websocket", "webrtc"]));
}

class Transcription extends Session {
  #config;
  #ear = new Ear(
    (event, sent) => this._link.send(event, sent),
    () => this.#config.session.audio.input,
  );
  #allCommitted = false;

  static async open({ signal, microphone, ...options }) {
    const transcription = new Transcription(options, microphone);
    await transcription._open(signal);
    if (microphone && !transcription.stream) void follow(microphone, transcription);
    return transcription;
  }

  constructor({ WebSocket, reconnectAttempts, transport, ...options }, microphone) {
    super();
    const server = new Server(options);
    this.#config = new SessionConfig("transcription", { audio: { input: input(options) } });
    const listener = {
      ...this._watcher,
      message: (message) => this.#take(message),
      dropped: () => this.#drop(),
      reconnected: (attempts) => this.#beginAgain(attempts),
      ended: (error) => this._end(error),
    };
    if (transport === "webrtc") {
      if (!microphone) throw new TypeError("over WebRTC the option microphone is needed");
      this._link = new Call(server, voiceCall(this.#config.session, microphone), reconnectAttempts, listener);
    } else {
      const dial = () => greeted(server, "/v1/realtime?intent=transcription", WebSocket, this.#config.greeting);
      this._link = new Link(dial, reconnectAttempts, listener);
    }
  }

  async send(pcm) {
    if (this.stream) throw new TypeError("over WebRTC audio is sent by the microphone");
    await this.#ear.hear(pcm);
  }

  async finish() {
    await this.#ear.mark(COMMIT, { ...COMMIT, event_id: END_MARK });
  }

  async update(audioInput) {
    await this.#config.change({ audio: { input: audioInput } }, (event) => this._link.send(event));
  }

  #take(message) {
    if (this.#config.answered(message)) return;
    const event = this.#ear.heard(message);
    if (event) this._push(event);
    if (message.type === "error") this.#takeError(message.error);
    if (this.#allCommitted && !this.#ear.waiting) this.close();
  }

  #takeError(error) {
    if (error.code === COMMIT_EMPTY) this.#allCommitted ||= error.event_id === END_MARK;
    else if (error.code !== SLOWED_DOWN) this._fail(fromProtocol(error));
  }

  #drop() {
    for (const event of this.#ear.drop()) this._push(event);
  }

  #beginAgain(attempts) {
    const { lostS, events } = this.#ear.replay();
    this._push({ type: "reconnected", attempts, lostS });
    return [...this.#config.unanswered, ...events];
  }

  _end(error) {
    this.#config.end(error ?? new ServerError("the session is closed", "session_closed"));
    super._end(error);
  }
}

function input({ turnDetection, ...options }) {
  return { transcription: hearing(options), ...given({ turn_detection: turnDetection }) };
}
