/** Recorded speech for tests, and how right a transcript is. */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { WebSocket } from "ws";

const PIECE_S = 0.1;
const RATE_HZ = 24_000;
const FAST = 10;

/** Where the server is that the tests were started for. */
export const server = { url: process.env.MILLSTREAM_URL, WebSocket };

export const REFERENCE = JSON.parse(readFileSync(`${process.env.MILLSTREAM_CLIPS}/transcripts.json`, "utf8"));

/** A clip as 24 kHz mono int16, with silence after it. */
export function clip(name, silenceS = 0) {
  const bytes = readFileSync(`${process.env.MILLSTREAM_CLIPS}/${name}.pcm`);
  const samples = new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const pcm = new Int16Array(samples.length + silenceS * RATE_HZ);
  pcm.set(samples);
  return pcm;
}

/** Send audio in pieces of 100 ms at `speed` times real time. */
export async function say(session, pcm, speed = FAST) {
  const size = PIECE_S * RATE_HZ;
  for (let start = 0; start < pcm.length; start += size) {
    await session.send(pcm.subarray(start, start + size));
    await sleep((PIECE_S * 1000) / speed);
  }
}

/** Word error rate, whatever the punctuation and capitals. */
export function errorRate(text, reference) {
  const said = words(text);
  const wanted = words(reference);
  let row = said.map((_, index) => index).concat(said.length);
  for (const [count, word] of wanted.entries()) {
    const next = [count + 1];
    for (const [index, other] of said.entries()) {
      next.push(Math.min(row[index] + (word === other ? 0 : 1), row[index + 1] + 1, next[index] + 1));
    }
    row = next;
  }
  return row[said.length] / wanted.length;
}

function words(text) {
  return (
    text
      .toLowerCase()
      .replaceAll("mr.", "mister")
      .match(/[a-z0-9']+/g) ?? []
  );
}

/** Collects a session's events while a test goes on. */
export class Heard {
  events = [];
  #ended = false;
  #wake = () => {};

  constructor(session) {
    this.over = this.#collect(session).finally(() => {
      this.#ended = true;
      this.#wake();
    });
    this.over.catch(() => {}); // whoever awaits it is told
  }

  all(type) {
    return this.events.filter((event) => event.type === type);
  }

  /** The `count`-th event of a type among those that match. Throws if the session ends before. */
  async wait(type, count = 1, matches = () => true) {
    for (;;) {
      const found = this.all(type).filter(matches);
      if (found.length >= count) return found[count - 1];
      if (this.#ended) throw (await this.over) ?? new Error(`the session has ended without ${type}`);
      await new Promise((resolve) => (this.#wake = resolve));
    }
  }

  async #collect(session) {
    for await (const event of session) {
      this.events.push(event);
      this.#wake();
    }
  }
}
