/** The page: asks the server who is there, and lets each pane know. */

import { byId, make } from "./dom.js";
import { askForKey } from "./key.js";
import { Machine, steps } from "./machine.js";
import { parse } from "./prometheus.js";
import { Restyle } from "./restyle.js";
import { Refusal, metrics, pause, workers } from "./server.js";
import { offerThemes } from "./settings.js";
import { Talk } from "./talk.js";

const EVERY_MS = 1_000;
const BLADE_DEGREES = 45;

/** @typedef {import("./server.js").Worker} Worker */

offerThemes(byId("theme"));
const panes = [new Talk(), new Restyle()];
const machine = new Machine();
/** @type {{reading: import("./prometheus.js").Reading, at: number} | null} */
let last = null;
let turned = 0;

for (;;) {
  await look();
  await pause(EVERY_MS);
}

async function look() {
  const figures = await Promise.all([workers(), metrics()]).catch(tell);
  if (!figures) return;
  const [live, text] = figures;
  show(live, parse(text));
  trouble(null);
}

/** @param {unknown} error Why there are no figures. */
async function tell(error) {
  if (error instanceof Refusal && error.status === 401) return askForKey(error.message);
  last = null;
  if (error instanceof Refusal) trouble(["The server refuses this page.", error.message]);
  else trouble(["The server does not answer.", "It may be starting, or stopped. This page asks again every second."]);
}

/** @param {Worker[]} live @param {import("./prometheus.js").Reading} reading */
function show(live, reading) {
  const services = new Set(live.map((worker) => worker.service));
  for (const pane of panes) pane.offer(services);
  byId("empty").hidden = live.length > 0 || panes.some((pane) => pane.shown);
  const at = performance.now();
  if (last) {
    const moment = { before: last.reading, now: reading, seconds: (at - last.at) / 1000, workers: live };
    machine.show(moment);
    if (steps(moment) > 0) turn();
  }
  last = { reading, at };
  const count = live.length === 1 ? "1 worker" : `${live.length} workers`;
  const devices = [...new Set(live.map((worker) => worker.device))].join(", ");
  pulse("live", live.length ? `${count} on ${devices}` : "No workers");
}

/** The wheel goes on while models step. */
function turn() {
  turned += BLADE_DEGREES;
  byId("brand").style.setProperty("--turned", `${turned}deg`);
}

/** @param {"live" | "lost"} state @param {string} words */
function pulse(state, words) {
  const element = byId("pulse");
  element.dataset.state = state;
  element.textContent = words;
}

/** @param {[string, string] | null} words What keeps the page from the server. */
function trouble(words) {
  const element = byId("trouble");
  document.body.dataset.reach = words ? "lost" : "found";
  if (words) pulse("lost", "No answer");
  element.hidden = words === null;
  if (!words || element.firstChild?.textContent === words[0]) return;
  element.replaceChildren(make("strong", "", words[0]), words[1]);
}
