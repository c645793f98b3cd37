/** The last seconds of a conversation: who was how loud when, and how long a reply took. */

const BAR_MS = 80;
const BAR_PX = 3;
const HISTORY_MS = 60_000;
/** Root mean square below which a piece is silence. */
const FLOOR = 0.012;
const LOUDEST = 0.32;

/** @typedef {{at: number, you: number, reply: number}} Bar */
/** @typedef {{from: number, to: number, label: string}} Span */

/** @param {number} level Root mean square, 0 to 1. @returns {number} Height, 0 to 1. */
const height = (level) => Math.min(1, level / LOUDEST) ** 0.6;

export class Ribbon {
  #canvas;
  #twoLanes;
  /** @type {Bar[]} */
  #bars = [];
  /** @type {Span[]} */
  #spans = [];
  #now = performance.now();

  /** @param {HTMLCanvasElement} canvas @param {() => boolean} twoLanes */
  constructor(canvas, twoLanes) {
    this.#canvas = canvas;
    this.#twoLanes = twoLanes;
    new ResizeObserver(() => this.draw()).observe(canvas);
    document.addEventListener("themechange", () => this.draw());
  }

  /** @param {number} now ms @param {number} you @param {number} reply Loudness now, 0 to 1. */
  sample(now, you, reply) {
    this.#now = now;
    const last = this.#bars.at(-1);
    if (last && now - last.at < BAR_MS) {
      last.you = Math.max(last.you, you);
      last.reply = Math.max(last.reply, reply);
      return;
    }
    const at = now - (now % BAR_MS);
    this.#bars.push({ at, you, reply });
    while (this.#bars[0].at < now - HISTORY_MS) this.#bars.shift();
    this.#spans = this.#spans.filter((span) => span.to > now - HISTORY_MS);
  }

  /** When you were last heard, ms, or null. */
  lastHeard() {
    const peak = Math.max(...this.#bars.map((bar) => bar.you), 0);
    const spoken = this.#bars.findLast((bar) => bar.you > Math.max(FLOOR, peak * 0.12));
    return spoken ? spoken.at + BAR_MS : null;
  }

  /** Mark a stretch of time. @param {Span} span */
  mark(span) {
    this.#spans.push(span);
  }

  draw() {
    const canvas = this.#canvas;
    const { clientWidth: width, clientHeight: high } = canvas;
    if (!width) return;
    const scale = devicePixelRatio;
    canvas.width = width * scale;
    canvas.height = high * scale;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const paint = new Paint(context, width, high, this.#now, style);
    paint.seconds();
    paint.bars(this.#bars, this.#twoLanes());
    for (const span of this.#spans) paint.span(span);
  }
}

/** Drawing one moment of the ribbon. */
class Paint {
  #context;
  #width;
  #high;
  #now;
  #style;

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} width
   * @param {number} high
   * @param {number} now
   * @param {CSSStyleDeclaration} style
   */
  constructor(context, width, high, now, style) {
    this.#context = context;
    this.#width = width;
    this.#high = high;
    this.#now = now;
    this.#style = style;
  }

  /** @param {string} name */
  #colour(name) {
    return this.#style.getPropertyValue(name);
  }

  /** @param {number} at ms */
  #x(at) {
    return this.#width - ((this.#now - at) / BAR_MS) * BAR_PX - BAR_PX;
  }

  seconds() {
    this.#context.fillStyle = this.#colour("--line");
    for (let at = this.#now - (this.#now % 1000); this.#x(at) > 0; at -= 1000) {
      this.#context.fillRect(Math.round(this.#x(at)), this.#high / 2 - 3, 1, 6);
    }
    this.#context.fillRect(0, this.#high / 2, this.#width, 1);
  }

  /** @param {Bar[]} bars @param {boolean} twoLanes */
  bars(bars, twoLanes) {
    const middle = this.#high / 2;
    const room = middle - 12;
    for (const { at, you, reply } of bars) {
      const x = this.#x(at);
      if (x < -BAR_PX) continue;
      this.#bar(x, middle - 1, -height(you) * room, "--ink");
      if (twoLanes) this.#bar(x, middle + 2, height(reply) * room, "--accent");
      else this.#bar(x, middle + 2, height(you) * room, "--ink");
    }
  }

  /** @param {number} x @param {number} y @param {number} tall @param {string} colour */
  #bar(x, y, tall, colour) {
    if (Math.abs(tall) < 1) return;
    this.#context.fillStyle = this.#colour(colour);
    this.#context.beginPath();
    this.#context.roundRect(x, y, BAR_PX - 1, tall, 1);
    this.#context.fill();
  }

  /** A bracket from your last word to the first sound of the reply. @param {Span} span */
  span({ from, to, label }) {
    const [left, right] = [this.#x(from), this.#x(to)];
    if (right < 0) return;
    const y = this.#high / 2 - 16;
    const context = this.#context;
    context.strokeStyle = this.#colour("--accent");
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(left, y + 5);
    context.lineTo(left, y);
    context.lineTo(right, y);
    context.lineTo(right, y + 5);
    context.stroke();
    context.fillStyle = this.#colour("--ink");
    context.font = `560 12px ${this.#colour("--mono")}`;
    context.textAlign = "center";
    context.fillText(label, (left + right) / 2, y - 5);
  }
}
