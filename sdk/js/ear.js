import { Journal } from "./journal.js";
import { RATE_HZ, appends } from "./pcm.js";

const TRANSCRIPTION = "conversation.item.input_audio_transcription.";
const SAMPLES_PER_MS = RATE_HZ / 1000;
/** A server that keeps up has listened to all but the last seconds: if it has told of no speech, it was silence. */
const UNHEARD_MS = 10_000;
export const COMMIT = { type: "input_audio_buffer.commit" };

/** What goes to a server's ear and what it heard, the same in transcriptions and conversations. */
export class Ear {
  #send;
  #settings;
  #journal = new Journal();
  /** Items without a final transcript. */
  #open = new Map();
  /** Where the connection's audio begins in the session's, and when it began. */
  #offsetMs = 0;
  #beganAt = performance.now();

  /** `send(event, sent)` is a link's; `settings()` are `session.audio.input` now. */
  constructor(send, settings) {
    this.#send = send;
    this.#settings = settings;
  }

  get waiting() {
    return this.#open.size > 0;
  }

  async hear(pcm) {
    const pieces = [...appends(pcm)];
    await Promise.all(pieces.map(({ event, samples }) => this.#send(event, () => this.#heardOf(event, samples))));
  }

  /** Send events that say something about the audio before them. */
  async mark(...events) {
    await Promise.all(events.map((event) => this.#send(event, () => this.#journal.add(event, 0))));
  }

  /** What an event of the protocol says of the input audio; null if it says nothing. */
  heard(message) {
    const item = message.item_id;
    switch (message.type.replace(TRANSCRIPTION, "")) {
      case "input_audio_buffer.speech_started":
        return this.#started(item, this.#offsetMs + message.audio_start_ms);
      case "input_audio_buffer.speech_stopped":
        return this.#stopped(item, this.#offsetMs + message.audio_end_ms);
      case "input_audio_buffer.committed":
        this.#item(item);
        if (this.#settings().transcription === null) this.#settle(item);
        return null;
      case "delta": {
        const known = this.#item(item);
        known.text += message.delta;
        return { type: "partial", item, delta: message.delta, text: known.text };
      }
      case "completed":
        this.#settle(item);
        return final(message);
      case "failed":
        this.#settle(item);
        return { type: "transcriptFailed", item, code: message.error.code, message: message.error.message };
    }
    return null;
  }

  /** The connection is gone, and with it items whose audio will be heard again under other names. */
  drop() {
    const problem = { code: "connection_lost", message: "the connection was lost; what was said is sent again" };
    const failed = [...this.#open.keys()].map((item) => ({ type: "transcriptFailed", item, ...problem }));
    this.#open.clear();
    return failed;
  }

  /** Events that tell another connection what has no transcript yet, and how many seconds are too long ago for that. */
  replay() {
    this.#offsetMs = this.#journal.start / SAMPLES_PER_MS;
    this.#beganAt = performance.now();
    return { lostS: this.#journal.takeLost() / RATE_HZ, events: this.#journal.events };
  }

  #item(item) {
    if (!this.#open.has(item)) this.#open.set(item, { text: "", startMs: null, stopMs: null });
    return this.#open.get(item);
  }

  #heardOf(event, samples) {
    this.#journal.add(event, samples);
    const listenedMs = performance.now() - this.#beganAt - UNHEARD_MS;
    const silent = !this.waiting && this.#settings().turn_detection !== null;
    if (silent && listenedMs > 0) this.#journal.settle((this.#offsetMs + listenedMs) * SAMPLES_PER_MS);
  }

  #started(item, atMs) {
    if (!this.waiting) this.#journal.settle(atMs * SAMPLES_PER_MS);
    this.#item(item).startMs = atMs;
    return { type: "speechStarted", item, atMs };
  }

  #stopped(item, atMs) {
    this.#item(item).stopMs = atMs;
    return { type: "speechStopped", item, atMs };
  }

  #settle(item) {
    const { stopMs = null } = this.#open.get(item) ?? {};
    this.#open.delete(item);
    if (stopMs === null) return this.#journal.settleTurn();
    const starts = [...this.#open.values()].flatMap(({ startMs }) => startMs ?? []);
    this.#journal.settle(Math.min(stopMs, ...starts) * SAMPLES_PER_MS);
  }
}

function final({ item_id: item, transcript: text, usage, languages }) {
  return { type: "final", item, text, seconds: usage.seconds, language: languages?.[0]?.code ?? null };
}

/** Send what a microphone hears until the session ends; the session fails when the device is gone. */
export async function follow(microphone, session) {
  const tap = microphone.tap();
  const isOver = () => session.state === "closed";
  try {
    for (let piece; !isOver() && !(piece = await tap.next()).done;) {
      const seconds = tap.takeLostS();
      if (seconds > 0) session._push({ type: "audioLost", seconds });
      await session.send(piece.value);
    }
  } catch (error) {
    if (!isOver()) session._fail(error);
  } finally {
    tap.return();
  }
}
