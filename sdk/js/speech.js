import { ServerError } from "./errors.js";
import { checkOptions, given } from "./options.js";
import { Server } from "./server.js";

const OPTIONS = ["url", "apiKey", "voice", "speed", "speaker", "signal"];
const PATH = "/v1/audio/speech";
/** Audio that the speaker has ahead; the server makes the rest when it is wanted. */
const AHEAD_S = 10;
const POLL_MS = 200;
let count = 0;

export async function speak(text, options = {}) {
  checkOptions(options, OPTIONS);
  const { voice, speed, speaker, signal } = options;
  const body = { model: "tts-1", input: text, response_format: "pcm", ...given({ voice, speed }) };
  const stopping = new AbortController();
  signal?.throwIfAborted();
  signal?.addEventListener("abort", () => stopping.abort(), { once: true });
  const response = await new Server(options).fetch(PATH, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: stopping.signal,
  });
  return new Speech(response.body.getReader(), stopping, speaker);
}

class Speech {
  finished;
  #audio;
  #stopping;
  #speaker;
  #settle;

  constructor(reader, stopping, speaker) {
    this.finished = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.finished.catch(() => {}); // an iteration tells it too
    this.#audio = this.#read(reader);
    this.#stopping = stopping;
    this.#speaker = speaker;
    if (speaker) void this.#play(speaker).catch(() => {}); // `finished` tells it
  }

  [Symbol.asyncIterator]() {
    return this.#audio;
  }

  close() {
    this.#stopping.abort();
    this.#speaker?.stop();
    this.#settle.resolve();
  }

  async #play(speaker) {
    const item = `speech_${++count}`;
    for await (const { pcm } of this.#audio) {
      speaker.play(item, pcm);
      while (speaker.queuedS > AHEAD_S) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async *#read(reader) {
    let odd = new Uint8Array(0);
    try {
      for (let read; !(read = await reader.read()).done;) {
        const bytes = new Uint8Array([...odd, ...read.value]);
        const whole = bytes.length - (bytes.length % 2);
        odd = bytes.slice(whole);
        if (whole > 0) yield { type: "audio", pcm: new Int16Array(bytes.buffer, 0, whole / 2) };
      }
      await this.#speaker?.finished();
      this.#settle.resolve();
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      const lost = new ServerError(`the speech broke off: ${error.message}`, "connection_lost", null, error);
      this.#settle.reject(lost);
      throw lost;
    } finally {
      this.#stopping.abort();
    }
  }
}
