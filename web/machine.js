/** The machine at work: the gateway's gauges, and every worker with its slots and the steps of its models. */

import { byId, make } from "./dom.js";
import { meanBetween, rise, total } from "./prometheus.js";
import { Spark } from "./spark.js";

/** @typedef {import("./prometheus.js").Reading} Reading */
/** @typedef {import("./server.js").Worker} Worker */
/**
 * Two readings, `seconds` apart.
 * @typedef {{before: Reading, now: Reading, seconds: number, workers: Worker[]}} Moment
 */

/** @type {Record<string, string>} */
export const SERVICES = {
  listen: "hears speech",
  think: "thinks of replies",
  speak: "speaks them",
  restyle: "repaints video",
  watch: "answers about video",
};
/** How long a worker that is gone is still shown. */
const FORGET_MS = 30_000;
const NONE = "–";

/** A number with its unit and its last minute. */
class Meter {
  #number = make("span", "");
  #spark = new Spark();
  #digits;

  /** @param {string} unit @param {number} [digits] After the point. */
  constructor(unit, digits = 0) {
    this.#digits = digits;
    this.reading = make("span", "reading", this.#number, make("span", "unit", unit && ` ${unit}`));
    this.element = make("dd", "cell idle", this.reading, this.#spark.element);
  }

  /** @param {number | null} value Null: nothing happened. The number stays, dimmed. */
  show(value) {
    this.#spark.push(value);
    this.element.classList.toggle("idle", value === null);
    if (value !== null) this.#number.textContent = value.toFixed(value >= 100 ? 0 : this.#digits);
    else if (!this.#number.textContent) this.#number.textContent = NONE;
  }
}

/** @param {Moment} moment @param {string} metric @param {Record<string, string>} [labels] @param {number} [scale] */
function mean({ before, now }, metric, labels, scale = 1) {
  const value = meanBetween(before, now, metric, labels);
  return value === null ? null : value * scale;
}

/** @param {Moment} moment */
export const steps = ({ before, now }) => rise(before, now, "millstream_step_seconds_count");

/** @param {Worker[]} workers @param {"used" | "capacity"} what */
const slots = (workers, what) => workers.reduce((sum, worker) => sum + worker[what], 0);

/** How many sessions came through which door. @param {Reading} now */
function doors(now) {
  const open = (now.get("millstream_sessions") ?? []).filter(({ value }) => value > 0);
  return open.map(({ labels, value }) => `${value} ${labels.door}`).join(", ") || "none open";
}

/**
 * @typedef {object} Gauge
 * @property {string} title
 * @property {string} unit
 * @property {number} digits
 * @property {(moment: Moment) => number | null} read
 * @property {(moment: Moment) => string} detail
 */

/** @type {Gauge[]} */
const GAUGES = [
  {
    title: "Sessions", unit: "", digits: 0,
    read: ({ now }) => total(now, "millstream_sessions"),
    detail: ({ now }) => doors(now),
  },
  {
    title: "Slots in use", unit: "", digits: 0,
    read: ({ workers }) => slots(workers, "used"),
    detail: ({ workers }) => `of ${slots(workers, "capacity")}`,
  },
  {
    title: "Steps", unit: "/s", digits: 1,
    read: (moment) => steps(moment) / moment.seconds,
    detail: ({ now }) => `${total(now, "millstream_step_seconds_count").toLocaleString("en")} so far`,
  },
  {
    title: "Turn latency", unit: "s", digits: 2,
    read: (moment) => mean(moment, "millstream_turn_seconds"),
    detail: () => "end of speech to reply",
  },
  {
    title: "First words", unit: "s", digits: 2,
    read: (moment) => mean(moment, "millstream_first_partial_seconds"),
    detail: () => "start of speech to text",
  },
  {
    title: "Late work", unit: "/s", digits: 1,
    read: ({ before, now, seconds }) => rise(before, now, "millstream_slack_misses_total") / seconds,
    detail: ({ now }) => `${total(now, "millstream_refused_total")} sessions refused`,
  },
];

/** @type {[title: string, hint: string, unit: string, digits: number, metric: string, scale: number][]} */
const METERS = [
  ["Step", "Mean duration of a step", "ms", 1, "millstream_step_seconds", 1000],
  ["Batch", "Streams that one step advanced, mean", "streams", 1, "millstream_step_streams", 1],
  ["Wait", "How long ready work waited for its step, mean", "ms", 1, "millstream_queue_seconds", 1000],
];

/** One model of one worker. */
class ModelRow {
  #meters;
  #late = make("span", "reading", "0");
  #labels;

  /** @param {string} worker @param {string} model */
  constructor(worker, model) {
    this.#labels = { worker, model };
    this.#meters = METERS.map(([title, hint, unit, digits, metric, scale]) => {
      const meter = new Meter(unit, digits);
      const element = make("div", "", make("dt", "", title), meter.element);
      element.title = hint;
      return { meter, element, metric, scale };
    });
    const late = make("div", "late", make("dt", "", "Late"), make("dd", "", this.#late));
    late.title = "Work that began after its slack was spent, since the worker started";
    const figures = make("dl", "", ...this.#meters.map(({ element }) => element), late);
    this.element = make("li", "model", make("span", "name", model), figures);
  }

  /** @param {Moment} moment */
  show(moment) {
    for (const { meter, metric, scale } of this.#meters) meter.show(mean(moment, metric, this.#labels, scale));
    const late = total(moment.now, "millstream_slack_misses_total", this.#labels);
    this.#late.textContent = String(late);
    this.#late.classList.toggle("some", late > 0);
  }
}

/** One worker, live or lately gone. */
class WorkerCard {
  #pips = make("span", "pips");
  #count = make("span", "");
  #state = make("span", "does");
  #models = make("ul", "models");
  /** @type {Map<string, ModelRow>} */
  #rows = new Map();
  #seenAt = 0;

  /** @param {Worker} worker */
  constructor(worker) {
    this.id = worker.id;
    this.service = worker.service;
    this.#pips.setAttribute("aria-hidden", "true");
    const slots = make("span", "slots", this.#pips, this.#count);
    slots.title = "Each slot holds one stream";
    const header = make("header", "", make("h3", "", worker.service), this.#state, slots);
    this.element = make("article", "worker", header, this.#models);
  }

  /** @param {Worker} worker @param {Moment} moment @param {number} at ms */
  show(worker, moment, at) {
    this.#seenAt = at;
    this.element.classList.remove("gone");
    const does = SERVICES[worker.service] ?? "";
    this.#state.textContent = worker.accepting ? `${does} on ${worker.device}` : "busy: takes no new streams";
    this.#count.textContent = `${worker.used} of ${worker.capacity}`;
    if (this.#pips.childElementCount !== worker.capacity) {
      this.#pips.replaceChildren(...Array.from({ length: worker.capacity }, () => document.createElement("i")));
    }
    [...this.#pips.children].forEach((pip, index) => pip.classList.toggle("used", index < worker.used));
    for (const model of worker.models) this.#row(model);
    for (const row of this.#rows.values()) row.show(moment);
  }

  /** @param {number} at ms @returns {boolean} Whether it is still worth showing. */
  miss(at) {
    this.element.classList.add("gone");
    this.#state.textContent = "gone; its sessions go on when another takes its place";
    return at - this.#seenAt < FORGET_MS;
  }

  /** @param {string} model */
  #row(model) {
    if (this.#rows.has(model)) return;
    const row = new ModelRow(this.id, model);
    this.#rows.set(model, row);
    this.#models.append(row.element);
  }
}

export class Machine {
  #section = byId("machine");
  #workers = byId("workers");
  #absent = byId("absent");
  #gauges;
  /** @type {Map<string, WorkerCard>} */
  #cards = new Map();

  constructor() {
    this.#gauges = GAUGES.map(({ title, unit, digits, read, detail }) => {
      const meter = new Meter(unit, digits);
      const note = make("dd", "muted");
      byId("gauges").append(make("div", "", make("dt", "", title), meter.element, note));
      return { meter, read, detail, note };
    });
  }

  /** @param {Moment} moment */
  show(moment) {
    this.#section.hidden = false;
    for (const { meter, read, detail, note } of this.#gauges) {
      meter.show(read(moment));
      note.textContent = detail(moment);
    }
    const now = performance.now();
    const live = new Map(moment.workers.map((worker) => [worker.id, worker]));
    for (const worker of moment.workers) this.#card(worker).show(worker, moment, now);
    const services = new Set(moment.workers.map((worker) => worker.service));
    for (const [id, card] of this.#cards) {
      if (live.has(id)) continue;
      const replaced = services.has(card.service);
      if (!card.miss(now) || replaced) this.#forget(id, card);
    }
    this.#tellAbsent(services);
  }

  /** @param {Worker} worker */
  #card(worker) {
    let card = this.#cards.get(worker.id);
    if (!card) {
      card = new WorkerCard(worker);
      this.#cards.set(worker.id, card);
      const order = Object.keys(SERVICES);
      const after = [...this.#cards.values()].filter((other) => other.element.isConnected)
        .find((other) => order.indexOf(other.service) > order.indexOf(worker.service));
      this.#workers.insertBefore(card.element, after?.element ?? null);
    }
    return card;
  }

  /** @param {string} id @param {WorkerCard} card */
  #forget(id, card) {
    card.element.remove();
    this.#cards.delete(id);
  }

  /** @param {Set<string>} services */
  #tellAbsent(services) {
    const absent = ["listen", "think", "speak", "restyle"].filter((service) => !services.has(service));
    this.#absent.hidden = absent.length === 0 || services.size === 0;
    const commands = absent.map((service) => make("code", "", `millstream worker ${service}`));
    const listed = commands.flatMap((command, index) => (index ? [", ", command] : [command]));
    this.#absent.replaceChildren("Not running: ", ...listed);
  }
}
