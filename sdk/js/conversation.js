import { Call, voiceCall } from "./call.js";
import { COMMIT, Ear, follow } from "./ear.js";
import { ServerError } from "./errors.js";
import { greeted } from "./greeting.js";
import { HEARING_OPTIONS, hearing } from "./hearing.js";
import { History } from "./history.js";
import { Link } from "./link.js";
import { checkSessionOptions, given } from "./options.js";
import { fromBase64 } from "./pcm.js";
import { Playback } from "./playback.js";
import { Replies } from "./replies.js";
import { Server } from "./server.js";
import { Session } from "./session.js";
import { SessionConfig } from "./session-config.js";
import { Tools, outputText } from "./tools.js";

const OPTIONS = [
  "instructions",
  "voice",
  "speed",
  ...HEARING_OPTIONS,
  "turnDetection",
  "tools",
  "replies",
  "microphone",
  "speaker",
];
const PCM = { type: "audio/pcm", rate: 24_000 };
const RESPOND = { type: "response.create" };
/** `event_id` of the request for a reply to the results of tools. */
const TO_RESULTS = "to_results";
const ALREADY_REPLYING = "conversation_already_has_active_response";

export async function converse(options = {}) {
  return Conversation.open(checkSessionOptions(options, OPTIONS, ["websocket", "webrtc"]));
}

class Conversation extends Session {
  #config;
  #tools;
  #ear = new Ear(
    (event, sent) => this._link.send(event, sent),
    () => this.#config.session.audio.input,
  );
  #replies = new Replies();
  #history = new History();
  #playback = null;
  #speaker;

  static async open({ signal, ...options }) {
    const conversation = new Conversation(options);
    await conversation._open(signal);
    conversation.#begin(options);
    return conversation;
  }

  constructor(options) {
    super();
    this.#tools = new Tools(options.tools);
    this.#config = new SessionConfig("realtime", session(options, this.#tools));
    this.#speaker = options.speaker;
    this._link = options.transport === "webrtc" ? this.#call(options) : this.#socket(options);
  }

  // --- what the user says ---

  async send(pcm) {
    if (this.stream) throw new TypeError("over WebRTC audio is sent by the microphone");
    await this.#ear.hear(pcm);
  }

  async sendText(text) {
    await Promise.all([
      this.#create({ type: "message", role: "user", content: [{ type: "input_text", text }] }),
      this.respond(),
    ]);
  }

  async toolResult(callId, output) {
    const item = { type: "function_call_output", call_id: callId, output: outputText(output) };
    await this.#create(item);
    this.#replies.result(callId);
    this.#replyToResults();
  }

  async commit() {
    await this.#ear.mark(COMMIT, RESPOND);
  }

  async respond(response = {}) {
    await this._link.send({ ...RESPOND, response }, () => this.#replies.ask(response));
  }

  async cancel() {
    const sent = [];
    if (this.#replies.underWay) sent.push(this._link.send({ type: "response.cancel" }));
    if (this.stream) sent.push(this._link.send({ type: "output_audio_buffer.clear" }));
    this.#playback?.stop();
    await Promise.all(sent);
  }

  async truncate(item, playedS) {
    const audio_end_ms = Math.floor(playedS * 1000);
    await Promise.all([
      this._link.send({ type: "conversation.item.truncate", item_id: item, content_index: 0, audio_end_ms }),
      this._link.send({ type: "conversation.item.retrieve", item_id: item }), // which words that leaves
    ]);
  }

  async update(fields) {
    await this.#config.change(fields, (event) => this._link.send(event));
  }

  async #create(fields) {
    const item = { id: `item_${crypto.randomUUID().replaceAll("-", "").slice(0, 20)}`, ...fields };
    await this._link.send({ type: "conversation.item.create", item }, () => this.#history.put(item));
  }

  // --- what the server says ---

  #take(message) {
    if (this.#config.answered(message)) return;
    const heard = this.#ear.heard(message);
    if (heard) this.#heard(heard);
    const event = heard ?? this.#audio(message) ?? this.#replies.told(message) ?? this.#told(message);
    if (event) this._push(event);
    if (event?.type === "toolCall" && this.#tools.runs(event.name)) void this.#run(event);
    this.#replyToResults();
  }

  #heard(event) {
    const detection = this.#config.session.audio.input.turn_detection;
    if (event.type === "speechStarted" && detection?.interrupt_response !== false) this.#playback?.stop();
    if (event.type !== "final") return;
    this.#history.transcribe(event.item, event.text);
    if (event.text && detection?.create_response !== false) this.#replies.ask({});
  }

  #audio(message) {
    if (message.type !== "response.output_audio.delta") return null;
    const { response_id: response, item_id: item } = message;
    const pcm = fromBase64(message.delta);
    if (!this.#playback) return { type: "replyAudio", response, item, pcm };
    this.#playback.play(item, pcm);
    return null;
  }

  #told(message) {
    switch (message.type) {
      case "conversation.item.done":
        this.#history.put(message.item, message.previous_item_id);
        return null;
      case "conversation.item.retrieved":
        this.#history.put(message.item);
        return null;
      case "conversation.item.deleted":
        this.#history.remove(message.item_id);
        return { type: "forgotten", item: message.item_id };
      case "error":
        return this.#refused(message.error);
    }
    return null;
  }

  #refused({ code, message, param = null, event_id: event }) {
    if (event !== TO_RESULTS || code !== ALREADY_REPLYING) return { type: "refused", code, message, param };
    this.#replies.refused();
    return null;
  }

  async #run(call) {
    const { output, failed } = await this.#tools.run(call);
    if (this.state === "closed") return;
    this._push({ type: "toolResult", callId: call.callId, name: call.name, output, failed });
    await this.toolResult(call.callId, output).catch((error) => this._fail(error));
  }

  #replyToResults() {
    if (this.state !== "open" || !this.#replies.due || this.#ear.waiting) return;
    this.#replies.ask({});
    this._link.send({ ...RESPOND, event_id: TO_RESULTS }).catch((error) => this._fail(error));
  }

  // --- connections ---

  #socket({ WebSocket, reconnectAttempts, ...options }) {
    const server = new Server(options);
    const dial = () => greeted(server, "/v1/realtime", WebSocket, this.#config.greeting);
    return new Link(dial, reconnectAttempts, this.#listener);
  }

  #call({ reconnectAttempts, microphone, ...options }) {
    const parts = voiceCall(this.#config.session, microphone);
    return new Call(new Server(options), parts, reconnectAttempts, this.#listener);
  }

  get #listener() {
    return {
      ...this._watcher,
      message: (message) => this.#take(message),
      dropped: () => this.#drop(),
      reconnected: (attempts) => this.#beginAgain(attempts),
      ended: (error) => this._end(error),
    };
  }

  #begin({ microphone, speaker }) {
    if (this.stream) return speaker?.attach(this.stream);
    const truncate = (item, playedS) => this.truncate(item, playedS).catch((error) => this._fail(error));
    if (speaker) this.#playback = new Playback(speaker, truncate, (event) => this._push(event));
    if (microphone) void follow(microphone, this);
  }

  #drop() {
    const failed = this.#ear.drop();
    for (const { item } of failed) this.#history.remove(item);
    const { lost, texts } = this.#replies.drop();
    for (const [id, transcript] of texts) {
      this.#history.put({ id, type: "message", role: "assistant", content: [{ type: "output_audio", transcript }] });
    }
    this.#playback?.forget();
    for (const event of [...failed, ...lost]) this._push(event);
  }

  /** What another connection is told: what was said, the audio that has no text yet, what is to be answered. */
  #beginAgain(attempts) {
    const { lostS, events } = this.#ear.replay();
    this._push({ type: "reconnected", attempts, lostS });
    const items = this.#history.restorable.map((item) => ({ type: "conversation.item.create", item }));
    const asked = this.#replies.asked && { ...RESPOND, response: this.#replies.asked };
    return [...this.#config.unanswered, ...items, ...events, ...(asked ? [asked] : [])];
  }

  _end(error) {
    this.#playback?.close();
    if (this.stream) this.#speaker?.detach(this.stream);
    this.#config.end(error ?? new ServerError("the session is closed", "session_closed"));
    super._end(error);
  }
}

function session(
  { instructions, voice, speed, turnDetection = { type: "server_vad" }, replies, transport, ...options },
  tools,
) {
  const format = transport === "webrtc" ? {} : { format: PCM }; // WebRTC negotiates its own
  return {
    output_modalities: [replies ?? "audio"],
    audio: {
      input: { ...format, transcription: hearing(options), turn_detection: turnDetection },
      output: { ...format, ...given({ voice, speed }) },
    },
    ...given({ instructions, tools: tools.definitions.length > 0 ? tools.definitions : undefined }),
  };
}
