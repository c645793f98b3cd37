/** What went wrong, in words that say what to do. */

import { DeviceError, ServerError } from "/sdk/millstream.js";

import { make } from "./dom.js";

const SECURE = `Browsers open microphones and cameras only on pages that came over HTTPS or from this very machine. Open
  http://localhost:${location.port || 80} where the server runs, or give it a certificate with --tls-certificate and
  --tls-key.`;

/** @type {Record<string, (device: string) => [string, string]>} */
const DEVICES = {
  permission_denied: (device) => [
    `This page may not use the ${device}.`,
    "Allow it beside the address bar, then start again. Samples work without.",
  ],
  no_device: (device) => [`There is no ${device}.`, "Plug one in and start again, or use a sample."],
  in_use: (device) => [`The ${device} is busy.`, "Another program holds it. Close that one, then start again."],
  insecure_context: (device) => [`The browser keeps the ${device} from this page.`, SECURE],
  unsupported: (device) => [`This browser cannot use the ${device}.`, "Try a current Chrome, Edge, Firefox or Safari."],
  needs_click: () => ["The browser lets a page make sound only after a click.", "Start again with one."],
  gone: (device) => [`The ${device} is gone.`, "It was unplugged, or taken away. Start again with another."],
};

/** @type {Record<string, string>} What browsers call the same, of a screen. */
const REFUSALS = { NotAllowedError: "permission_denied", NotFoundError: "no_device", NotSupportedError: "unsupported" };

/** @type {Record<string, string>} */
const SERVER = {
  unreachable: "The server does not answer. Start again when it does.",
  connection_lost: "The connection ended. Start again when the server is back.",
  server_full: "Every slot is taken. Start again in a moment, or add workers.",
  idle_timeout: "The session was silent for too long. Start again when you like.",
  session_expired: "The session reached its longest life. Start again when you like.",
};

/**
 * A headline and what to do about it.
 * @param {unknown} error
 * @param {string} device What was to be opened: "microphone", "camera", "screen".
 * @returns {[string, string]}
 */
export function explain(error, device) {
  if (error instanceof DeviceError) return DEVICES[error.code](device);
  if (error instanceof DOMException && error.name in REFUSALS) return DEVICES[REFUSALS[error.name]](device);
  if (error instanceof ServerError) return [error.message, SERVER[error.code] ?? ""];
  return ["Something broke on this page.", error instanceof Error ? error.message : String(error)];
}

/**
 * What is missing, in words, or null.
 * @param {string[]} needs Services.
 * @param {Set<string>} services Those of live workers.
 * @returns {[string, string] | null}
 */
export function missingWorkers(needs, services) {
  const missing = needs.filter((service) => !services.has(service));
  if (!missing.length) return null;
  const names = new Intl.ListFormat("en").format(missing);
  return missing.length > 1
    ? [`The ${names} workers are gone.`, "This goes on when others take their place."]
    : [`The ${names} worker is gone.`, "This goes on when another takes its place."];
}

/** The notice of a pane: what stands in the way now, or else what went wrong last. */
export class Notices {
  #element;
  /** @type {[string, string] | null} */
  #standing = null;
  /** @type {[string, string] | null} */
  #passing = null;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
  }

  /** @param {[string, string] | null} words Null: nothing stands in the way. */
  standing(words) {
    this.#standing = words;
    this.#show();
  }

  /** @param {[string, string] | null} words Null: forget it. */
  passing(words) {
    this.#passing = words;
    this.#show();
  }

  /** @param {unknown} error @param {string} device */
  problem(error, device) {
    this.passing(explain(error, device));
  }

  #show() {
    const words = this.#standing ?? this.#passing;
    this.#element.hidden = words === null;
    const said = words ? words.filter(Boolean).join(" ") : "";
    if (!words || this.#element.textContent === said) return;
    this.#element.replaceChildren(make("strong", "", words[0]), ...(words[1] ? [` ${words[1]}`] : []));
  }
}
