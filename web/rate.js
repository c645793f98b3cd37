/** How often something happens, and how long it takes, over the last seconds. */

const WINDOW_MS = 3_000;

export class Rate {
  /** @type {{at: number, took: number}[]} */
  #events = [];

  /** @param {number} at ms @param {number} took ms */
  add(at, took) {
    this.#events.push({ at, took });
  }

  /**
   * @param {number} now ms
   * @returns {{perSecond: number, median: number} | null} Null if it happened less than twice.
   */
  read(now) {
    this.#events = this.#events.filter(({ at }) => at > now - WINDOW_MS);
    const [first, last] = [this.#events[0], this.#events.at(-1)];
    if (!first || !last || first === last) return null;
    const took = this.#events.map((event) => event.took).sort((a, b) => a - b);
    return {
      perSecond: ((this.#events.length - 1) * 1000) / (last.at - first.at),
      median: took[took.length >> 1],
    };
  }
}
