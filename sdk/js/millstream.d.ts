/** Client of a Millstream server, for browsers and Node. Audio is 24 kHz mono int16 everywhere. */

/** What went wrong between client and server. `param` names the field at fault, if there is one. */
export class ServerError extends Error {
  readonly name: "ServerError";
  /** The server's code; "unreachable" if nothing answers, "connection_lost" if it ended unexpectedly. */
  readonly code: string;
  readonly param: string | null;
}

/** Why a microphone, camera or loudspeaker cannot be used. */
export class DeviceError extends Error {
  readonly name: "DeviceError";
  readonly code:
    "permission_denied" | "no_device" | "in_use" | "insecure_context" | "needs_click" | "unsupported" | "gone";
}

export interface ServerOptions {
  /** Where the server is: http:// or https://. By default the page's origin, in Node http://127.0.0.1:8000. */
  url?: string;
  /** An API key, or an ephemeral one (`ek_...`) for pages that others open. */
  apiKey?: string;
}

export interface SessionOptions extends ServerOptions {
  /** The constructor to use where there is no global one (Node 20: the `ws` package is found by itself). */
  WebSocket?: WebSocketConstructor;
  /** How often to try again when a connection breaks, with growing pauses; 10 by default, 0 not at all. */
  reconnectAttempts?: number;
  /** Closes the session when it aborts. */
  signal?: AbortSignal;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => unknown;

/** `server_vad` or `semantic_vad` of the Realtime protocol; null: turns end when `commit` says so. */
export type TurnDetection =
  | {
      type: "server_vad";
      threshold?: number;
      prefix_padding_ms?: number;
      silence_duration_ms?: number;
      create_response?: boolean;
      interrupt_response?: boolean;
    }
  | {
      type: "semantic_vad";
      eagerness?: "low" | "medium" | "high" | "auto";
      create_response?: boolean;
      interrupt_response?: boolean;
    };

// --- Events -----------------------------------------------------------------------------------------------------

/** Someone began to speak, `atMs` of audio after the start. */
export interface SpeechStarted {
  type: "speechStarted";
  item: string;
  atMs: number;
}

/** The turn ended, `atMs` of audio after the start. */
export interface SpeechStopped {
  type: "speechStopped";
  item: string;
  atMs: number;
}

/** More of the item's transcript: `delta` is new, `text` is all of it so far. */
export interface Partial {
  type: "partial";
  item: string;
  delta: string;
  text: string;
}

/** The item's transcript; where it differs from the partial text, it is right. `seconds` is the audio's length. */
export interface Final {
  type: "final";
  item: string;
  text: string;
  seconds: number;
  /** What was recognised (ISO 639-1), if the recogniser tells. */
  language: string | null;
}

/** The item has no transcript. With the code "connection_lost" its audio is heard again as another item. */
export interface TranscriptFailed {
  type: "transcriptFailed";
  item: string;
  code: string;
  message: string;
}

/** The connection broke and is being made again: attempt number `attempt`. */
export interface Reconnecting {
  type: "reconnecting";
  attempt: number;
  reason: string;
}

/**
 * The session goes on over a new connection, which knows what was said. `lostS` seconds of audio had no transcript and
 * were too long ago to be sent again.
 */
export interface Reconnected {
  type: "reconnected";
  attempts: number;
  lostS: number;
}

/** The connection was too slow for too long: `seconds` of the microphone's audio were not sent. */
export interface AudioLost {
  type: "audioLost";
  seconds: number;
}

export type Heard = SpeechStarted | SpeechStopped | Partial | Final | TranscriptFailed;
export type Link = Reconnecting | Reconnected;
export type TranscriptionEvent = Heard | Link | AudioLost;

/** The server has begun to make a reply. */
export interface ReplyStarted {
  type: "replyStarted";
  response: string;
}

/** More of a reply's text: `delta` is new, `text` is all of it so far. Where there is audio too, it says this. */
export interface ReplyText {
  type: "replyText";
  response: string;
  item: string;
  delta: string;
  text: string;
}

/** Audio to play after what the item had before. It comes faster than it plays. Not told if a speaker plays it. */
export interface ReplyAudio {
  type: "replyAudio";
  response: string;
  item: string;
  pcm: Int16Array;
}

/** The reply is over; unless completed, `problem` may tell why ("turn_detected": the user interrupted it). */
export interface ReplyDone {
  type: "replyDone";
  response: string;
  status: "completed" | "cancelled" | "incomplete" | "failed";
  problem: string | null;
  usage: Usage | null;
}

/** Tokens of the language model: what it read, how much of that was cached, and what it wrote. */
export interface Usage {
  input: number;
  cached: number;
  output: number;
}

/** The model calls a tool. One without `run` is yours to answer, with `toolResult`. */
export interface ToolCall {
  type: "toolCall";
  response: string;
  item: string;
  callId: string;
  name: string;
  arguments: Record<string, unknown>;
}

/** What a tool's `run` gave, as the model is told; `failed` if it threw or took too long. */
export interface ToolResult {
  type: "toolResult";
  callId: string;
  name: string;
  output: string;
  failed: boolean;
}

/** A reply's audio begins to be heard, where the SDK plays it. */
export interface PlaybackStarted {
  type: "playbackStarted";
}

/** No more of it is heard: all of it was played, or it was `cut` short. */
export interface PlaybackStopped {
  type: "playbackStopped";
  cut: boolean;
}

/** The server knows that only the first `playedMs` of a reply's item were heard. */
export interface Truncated {
  type: "truncated";
  item: string;
  playedMs: number;
}

/** The item is no longer part of the conversation: there were too many. */
export interface Forgotten {
  type: "forgotten";
  item: string;
}

/** The server refused something that was sent; the session goes on. `param` is the field at fault. */
export interface Refused {
  type: "refused";
  code: string;
  message: string;
  param: string | null;
}

export type ConversationEvent =
  | Heard
  | Link
  | AudioLost
  | ReplyStarted
  | ReplyText
  | ReplyAudio
  | ReplyDone
  | ToolCall
  | ToolResult
  | PlaybackStarted
  | PlaybackStopped
  | Truncated
  | Forgotten
  | Refused;

/**
 * What the picture at `pts` became: a JPEG, or null over WebRTC, where pictures come in the video track. Before it,
 * `dropped` pictures will not come. `delayMs` passed from the picture to this.
 */
export interface Restyled {
  type: "restyled";
  pts: number;
  picture: Uint8Array<ArrayBuffer> | null;
  dropped: number;
  delayMs: number;
}

/** The picture at `pts` looks like the one before it, and so would what it became. */
export interface Unchanged {
  type: "unchanged";
  pts: number;
}

/** The picture at `pts` is under way, and none came out in its turn: the server works on a few at once. */
export interface Held {
  type: "held";
  pts: number;
}

/** The picture at `pts` cannot be taken. */
export interface Unreadable {
  type: "unreadable";
  pts: number;
  message: string;
}

/** The session goes on over a new connection; `lostPictures` were sent and will not be answered for. */
export interface RestylingReconnected {
  type: "reconnected";
  attempts: number;
  lostPictures: number;
}

export type RestylingEvent = Restyled | Unchanged | Held | Unreadable | Refused | Reconnecting | RestylingReconnected;

// --- Sessions ---------------------------------------------------------------------------------------------------

/**
 * Iterate over a session's events with `for await`; each goes to one iteration. The iteration ends when the session
 * does, and throws ServerError if it did not end well. 10,000 events that nobody reads end a session.
 */
export interface Session<Event> extends AsyncIterable<Event> {
  readonly state: "open" | "reconnecting" | "closed";
  /** End the session at once. It stops the speaker; microphone, camera and speaker stay open for others. */
  close(): void;
}

export interface Transcription extends Session<TranscriptionEvent> {
  /** Send audio: samples, or bytes in little-endian order. Waits while the server takes no more. Not over WebRTC. */
  send(pcm: Int16Array | Uint8Array): Promise<void>;
  /** Say that no more audio comes; the iteration ends when every transcript has arrived. */
  finish(): Promise<void>;
  /** Change `session.audio.input` of the Realtime protocol. Resolves once it is in force; rejects with ServerError. */
  update(audioInput: Record<string, unknown>): Promise<void>;
}

export interface HearingOptions {
  /** What is spoken, ISO 639-1. */
  language?: string;
  /** How far a streaming recogniser looks ahead of the words it writes; more is more accurate. */
  lookaheadMs?: 0 | 80 | 480 | 1040;
  /** Likely to be said. */
  phrases?: string[];
}

export interface TranscribeOptions extends SessionOptions, HearingOptions {
  /** "websocket" by default; "webrtc" needs a microphone. */
  transport?: "websocket" | "webrtc";
  /** By default the server ends turns after half a second of silence. */
  turnDetection?: TurnDetection;
  /** Is sent until the session ends. */
  microphone?: Microphone;
}

/** Open a live transcription. Rejects with ServerError if the server cannot be reached or refuses. */
export function transcribe(options?: TranscribeOptions): Promise<Transcription>;

export interface Conversation extends Session<ConversationEvent> {
  /** Send audio: samples, or bytes in little-endian order. Waits while the server takes no more. Not over WebRTC. */
  send(pcm: Int16Array | Uint8Array): Promise<void>;
  /** Say something in writing and ask for a reply. */
  sendText(text: string): Promise<void>;
  /** Answer a `toolCall`; what is no string is sent as JSON. Once all calls of a reply are answered, the next is made. */
  toolResult(callId: string, output: unknown): Promise<void>;
  /** End the user's turn and ask for a reply; needed only with `turnDetection: null`. */
  commit(): Promise<void>;
  /** Ask for a reply now. `response` is the protocol's object. */
  respond(response?: Record<string, unknown>): Promise<void>;
  /** Stop the reply that is being made, and its playback. */
  cancel(): Promise<void>;
  /** Say that only the first `playedS` seconds of a reply's item were played. Not needed if the SDK plays. */
  truncate(item: string, playedS: number): Promise<void>;
  /** Change `session` of the Realtime protocol. Resolves once it is in force; rejects with ServerError. */
  update(session: Record<string, unknown>): Promise<void>;
  /** Replies as the server sends them over WebRTC, null over a WebSocket. */
  readonly stream: MediaStream | null;
}

export interface Tool {
  name: string;
  description?: string;
  /** A JSON schema; arguments always fit it. */
  parameters: Record<string, unknown>;
  /** Called with the arguments, for at most a minute; its result, or error, is told to the model. */
  run?(given: any): unknown;
}

export interface ConverseOptions extends SessionOptions, HearingOptions {
  /** "websocket" by default. */
  transport?: "websocket" | "webrtc";
  instructions?: string;
  voice?: string;
  /** 0.25 to 1.5. */
  speed?: number;
  /** `{type: "server_vad"}` by default; null: turns end when `commit` says so. */
  turnDetection?: TurnDetection | null;
  tools?: Tool[];
  /** "audio" by default. */
  replies?: "audio" | "text";
  /** Is sent until the session ends. */
  microphone?: Microphone;
  /** Plays the replies, and stops when the user begins to speak; the server is told how much was heard. */
  speaker?: Speaker;
}

/** Open a spoken conversation. Rejects with ServerError if the server cannot be reached or refuses an option. */
export function converse(options?: ConverseOptions): Promise<Conversation>;

export interface Prompt {
  prompt: string;
  weight: number;
}

/** Fields of the protocol's `restyle` message, docs/live.md. */
export interface RestyleFields {
  prompt?: string | Prompt[];
  negative_prompt?: string;
  over_frames?: number;
  fit?: "cover" | "contain" | "stretch";
  filter?: { threshold?: number; max_skipped?: number } | null;
  denoising?: {
    t_indices?: number[];
    guidance?: "none" | "self" | "one_time" | "full";
    scale?: number;
    delta?: number;
    seed?: number;
    renoise?: boolean;
  };
}

export interface Restyling extends Session<RestylingEvent> {
  /** Pictures that did not come, since later ones replaced them. */
  readonly dropped: number;
  /** Send a JPEG, WebP or PNG; `pts`, in ticks of 90 kHz, must rise. Not over WebRTC. */
  send(picture: Uint8Array | ArrayBuffer | Blob, pts: number): Promise<void>;
  /** Restyle differently from the next picture on. */
  change(fields: RestyleFields): Promise<void>;
  /** Say that no more pictures come; the iteration ends when all have been answered for. */
  finish(): Promise<void>;
  /** Restyled video over WebRTC, null over a WebSocket. */
  readonly stream: MediaStream | null;
}

export interface RestyleOptions extends SessionOptions, Omit<RestyleFields, "prompt"> {
  /** "websocket" by default. */
  transport?: "websocket" | "webrtc";
  /** Its pictures are sent until the session ends: the latest whenever the server has time. */
  camera?: Camera;
  /** Restyled pictures are drawn here, or as `stream` over WebRTC. */
  canvas?: HTMLCanvasElement;
}

/** Restyle live video by `prompt`: a text, or several that are blended. Rejects with ServerError. */
export function restyle(prompt: string | Prompt[], options?: RestyleOptions): Promise<Restyling>;

export interface SpeechAudio {
  type: "audio";
  pcm: Int16Array;
}

/** Speech while it is being made. With a speaker it plays by itself, and there is nothing to iterate over. */
export interface Speech extends AsyncIterable<SpeechAudio> {
  /** Resolves when all has been read or played. Rejects with ServerError if it cannot be made. */
  readonly finished: Promise<void>;
  /** Stop, the playback too. */
  close(): void;
}

export interface SpeakOptions extends ServerOptions {
  voice?: string;
  /** 0.25 to 4. */
  speed?: number;
  speaker?: Speaker;
  signal?: AbortSignal;
}

/** Say a text of up to 50,000 characters. Rejects with ServerError if the server cannot be reached or refuses. */
export function speak(text: string, options?: SpeakOptions): Promise<Speech>;

export interface ClientSecret {
  /** Used like an API key until `expiresAt`; sessions begun with it may outlive it. */
  value: string;
  expiresAt: Date;
}

/** Make an ephemeral key for a page, on a backend that has the API key. `expiresAfterS` is 10 to 7200. */
export function createClientSecret(
  options: ServerOptions & { expiresAfterS?: number; session?: Record<string, unknown> },
): Promise<ClientSecret>;

// --- Devices ----------------------------------------------------------------------------------------------------

export interface MicrophoneOptions {
  deviceId?: string;
  /** All true by default. */
  echoCancellation?: boolean;
  noiseSuppression?: boolean;
  autoGainControl?: boolean;
}

/** Live audio, captured in an AudioWorklet, in pieces of 40 ms. Each session and iteration hears all of it. */
export class Microphone implements AsyncIterable<Int16Array> {
  private constructor();
  /** Ask the user for a microphone. Rejects with DeviceError. Call it in a handler of a click. */
  static open(options?: MicrophoneOptions): Promise<Microphone>;
  /** Let a stream, or a clip (decoded, or an encoded file) at its own pace, take a microphone's place. */
  static from(source: MediaStream | AudioBuffer | Blob): Promise<Microphone>;
  /** What WebRTC sends. */
  readonly stream: MediaStream;
  /** Loudness now, 0 to 1: root mean square of the last piece. */
  readonly level: number;
  /** Silence is sent while true. */
  muted: boolean;
  /** Resolves when a clip has been heard to its end (silence follows), or the device is gone. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
  /** From now on. Throws DeviceError when the device is gone. What is not taken within ten seconds is lost. */
  [Symbol.asyncIterator](): AsyncIterator<Int16Array, void>;
}

/** How much of an item was played when it was stopped. */
export interface Cut {
  item: string;
  playedS: number;
}

/** Gapless playback in an AudioWorklet. */
export class Speaker {
  private constructor();
  /** Rejects with DeviceError. Call it in a handler of a click, or the browser keeps it silent. */
  static open(options?: { deviceId?: string }): Promise<Speaker>;
  /** Play audio after what was given before. */
  play(item: string, pcm: Int16Array): void;
  /** Stop at once, and forget what was still to be played. Returns the items of which something was not played. */
  stop(): Cut[];
  /** Whether something is being played. */
  readonly playing: boolean;
  /** Seconds of audio still to be played. */
  readonly queuedS: number;
  /** Loudness now, 0 to 1: root mean square. */
  readonly level: number;
  /** 0 to 1. */
  volume: number;
  /** Resolves when all has been played or stopped. */
  finished(): Promise<void>;
  close(): Promise<void>;
}

export interface CameraOptions {
  deviceId?: string;
  facingMode?: "user" | "environment";
}

export interface CameraPicture {
  /** A JPEG. */
  picture: Blob;
  /** Ticks of 90 kHz; they rise. */
  pts: number;
}

/** Live pictures; each iteration step takes the latest, so that nothing queues. */
export class Camera implements AsyncIterable<CameraPicture> {
  private constructor();
  /** Ask the user for a camera. Rejects with DeviceError. */
  static open(options?: CameraOptions): Promise<Camera>;
  /** Let a stream, or an element that plays a film, take a camera's place. */
  static from(source: MediaStream | HTMLVideoElement): Promise<Camera>;
  /** What WebRTC sends; show it with `video.srcObject = camera.stream`. */
  readonly stream: MediaStream;
  close(): void;
  [Symbol.asyncIterator](): AsyncIterator<CameraPicture, void>;
}
