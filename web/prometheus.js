/** Prometheus text, and what happened between two readings of it. */

/** @typedef {{labels: Record<string, string>, value: number}} Sample */
/** @typedef {Map<string, Sample[]>} Reading Samples by metric name. */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = /** @type {Record<string, string>} */ ({ "\\n": "\n", '\\"': '"', "\\\\": "\\" });

/**
 * Read Prometheus text, format 0.0.4.
 * @param {string} text
 * @returns {Reading}
 */
export function parse(text) {
  /** @type {Reading} */
  const reading = new Map();
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (!match) continue;
    const [, name, inner = "", value] = match;
    const samples = reading.get(name) ?? [];
    samples.push({ labels: labelsOf(inner), value: numberOf(value) });
    reading.set(name, samples);
  }
  return reading;
}

/** @param {string} inner */
function labelsOf(inner) {
  return Object.fromEntries(
    [...inner.matchAll(LABEL)].map(([, name, value]) => [name, value.replace(/\\[n"\\]/g, (code) => ESCAPES[code])]),
  );
}

/** @param {string} word */
function numberOf(word) {
  return Number(word.replace(/^([+-]?)Inf$/, "$1Infinity"));
}

/**
 * The sum of a metric's samples that carry `labels`.
 * @param {Reading} reading
 * @param {string} name
 * @param {Record<string, string>} [labels]
 */
export function total(reading, name, labels = {}) {
  let sum = 0;
  for (const sample of reading.get(name) ?? []) if (carries(sample, labels)) sum += sample.value;
  return sum;
}

/** @param {Sample} sample @param {Record<string, string>} labels */
function carries(sample, labels) {
  return Object.entries(labels).every(([name, value]) => sample.labels[name] === value);
}

/**
 * How much a counter rose. A worker that was started anew counts from zero.
 * @param {Reading} before
 * @param {Reading} after
 * @param {string} name
 * @param {Record<string, string>} [labels]
 */
export function rise(before, after, name, labels) {
  const [from, to] = [total(before, name, labels), total(after, name, labels)];
  return to >= from ? to - from : to;
}

/**
 * The mean of what a histogram observed between two readings, or null if that is nothing.
 * @param {Reading} before
 * @param {Reading} after
 * @param {string} name
 * @param {Record<string, string>} [labels]
 */
export function meanBetween(before, after, name, labels) {
  const count = rise(before, after, `${name}_count`, labels);
  return count > 0 ? rise(before, after, `${name}_sum`, labels) / count : null;
}
