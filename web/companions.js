/** Further sessions on the same pictures, each with a look of its own: the server paints them in the same steps. */

import { restyle } from "/sdk/millstream.js";

import { LOOKS } from "./choices.js";
import { make } from "./dom.js";
import { apiKey } from "./settings.js";

const LOST_MS = 3_000;

/** @typedef {import("/sdk/millstream.js").Restyling} Restyling */

/** One of them. It takes a picture whenever it has none under way. */
class Companion {
  #session;
  #sentAt = -Infinity;
  #waiting = false;

  /** @param {Restyling} session @param {(error: unknown) => void} fail Told why it ended, unless it was closed. */
  constructor(session, fail) {
    this.#session = session;
    this.#follow().catch(fail);
  }

  /** @param {Blob} picture @param {number} pts */
  async offer(picture, pts) {
    const now = performance.now();
    if (this.#session.state !== "open" || (this.#waiting && now - this.#sentAt < LOST_MS)) return;
    [this.#waiting, this.#sentAt] = [true, now];
    await this.#session.send(picture, pts).catch(() => {}); // what ends a session is told by its iteration
  }

  close() {
    this.#session.close();
  }

  async #follow() {
    for await (const event of this.#session) if ("pts" in event) this.#waiting = false;
  }
}

export class Companions {
  #strip;
  #choose;
  #fail;
  /** @type {Companion[]} */
  #companions = [];
  #generation = 0;

  /**
   * @param {HTMLElement} strip
   * @param {(prompt: string) => void} choose Called with the look that was clicked.
   * @param {(error: unknown) => void} fail Told what went wrong.
   */
  constructor(strip, choose, fail) {
    this.#strip = strip;
    this.#choose = choose;
    this.#fail = fail;
  }

  /**
   * Have as many, with other looks than `prompt`.
   * @param {number} count
   * @param {string} prompt
   */
  async open(count, prompt) {
    this.close();
    const generation = this.#generation;
    for (const [look, words] of LOOKS.filter(([, other]) => other !== prompt).slice(0, count)) {
      const canvas = document.createElement("canvas");
      try {
        const session = await restyle(words, { apiKey: apiKey(), canvas });
        if (generation !== this.#generation) return session.close();
        this.#companions.push(new Companion(session, this.#fail));
        this.#strip.append(this.#button(look, words, canvas));
      } catch (error) {
        return this.#fail(error);
      }
    }
  }

  /** @param {Blob} picture @param {number} pts */
  async offer(picture, pts) {
    await Promise.all(this.#companions.map((companion) => companion.offer(picture, pts)));
  }

  close() {
    this.#generation += 1;
    for (const companion of this.#companions) companion.close();
    this.#companions = [];
    this.#strip.replaceChildren();
  }

  /** @param {string} look @param {string} words @param {HTMLCanvasElement} canvas */
  #button(look, words, canvas) {
    const button = Object.assign(make("button", "", canvas), { type: "button", title: words });
    button.setAttribute("aria-label", `Also ${look}: ${words}`);
    button.addEventListener("click", () => this.#choose(words));
    return button;
  }
}
