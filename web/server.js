/** The server's own figures, asked for again and again. */

import { apiKey } from "./settings.js";

const TIMEOUT_MS = 4_000;

/** The server answered, but not with what was asked for. */
export class Refusal extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Fetch a path of this server with the visitor's key.
 * @param {string} path
 * @returns {Promise<Response>} Rejects with Refusal if the status is not 2xx, else if nothing answers.
 */
export async function ask(path) {
  const key = apiKey();
  const headers = key ? { authorization: `Bearer ${key}` } : undefined;
  const response = await fetch(path, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Refusal(response.status, body?.error?.message ?? `${path} answered ${response.status}`);
}

/**
 * A live worker, as `/v1/workers` tells it.
 * @typedef {{id: string, service: string, models: string[], device: string, capacity: number, used: number,
 *   accepting: boolean}} Worker
 */

/** @returns {Promise<Worker[]>} */
export async function workers() {
  return (await (await ask("/v1/workers")).json()).workers;
}

/** @returns {Promise<string>} Prometheus text. */
export async function metrics() {
  return (await ask("/metrics")).text();
}

/**
 * Resolves after `ms`, and not before the page is looked at.
 * @param {number} ms
 */
export async function pause(ms) {
  await new Promise((resolve) => setTimeout(resolve, ms));
  if (document.hidden) {
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}
