/** Small lines that show the last minute. */

const SVG = "http://www.w3.org/2000/svg";
export const POINTS = 60;

/**
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {SVGElement[]} children
 */
function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** A line of up to 60 values, oldest first; null breaks it. It starts at zero, so that heights can be compared. */
export class Spark {
  /** @type {(number | null)[]} */
  #values = [];
  #lines = svg("g", {});

  constructor() {
    this.element = svg(
      "svg",
      { class: "spark", viewBox: `0 0 ${POINTS} 24`, preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("line", { x1: 0, y1: 24, x2: POINTS, y2: 24 }),
      this.#lines,
    );
  }

  /** The largest value that is shown. */
  get peak() {
    return Math.max(0, ...this.#values.map((value) => value ?? 0));
  }

  /** @param {number | null} value */
  push(value) {
    this.#values.push(value);
    if (this.#values.length > POINTS) this.#values.shift();
    this.#draw();
  }

  #draw() {
    const top = this.peak || 1;
    const start = POINTS - this.#values.length;
    /** @type {string[][]} */
    const runs = [[]];
    this.#values.forEach((value, index) => {
      const run = runs[runs.length - 1];
      if (value !== null) run.push(`${start + index + 0.5},${(23 - (22 * value) / top).toFixed(2)}`);
      else if (run.length) runs.push([]);
    });
    this.#lines.replaceChildren(...runs.filter((run) => run.length).map(polyline));
  }
}

/** A single value is a dash as wide as its second. @param {string[]} run */
function polyline(run) {
  const [x, y] = run[0].split(",");
  const points = run.length > 1 ? run : [`${Number(x) - 0.4},${y}`, `${Number(x) + 0.4},${y}`];
  return svg("polyline", { points: points.join(" ") });
}
