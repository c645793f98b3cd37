/** What is said, turn by turn: words that settle when they are final, replies that settle as they are heard. */

import { make } from "./dom.js";

/** Of the voices, about. It counts where the speaker does not know how much is still to be played. */
const CHARACTERS_PER_S = 17;
const MAX_TURNS = 60;
const NEAR_END_PX = 48;

/** @param {string} text */
const wordsOf = (text) => text.split(/\s+/).filter(Boolean);

/** One turn of the conversation. */
class Turn {
  #note;
  #words;

  /** @param {"you" | "reply"} who */
  constructor(who) {
    this.element = make("li", `turn ${who} waiting`);
    this.#note = make("span", "");
    this.#words = make("p", "");
    const name = make("span", "who", who === "you" ? "You" : "Millstream");
    this.element.append(make("header", "", name, this.#note), this.#words);
  }

  get text() {
    return this.words.map((word) => word.textContent).join("").trim();
  }

  get words() {
    return /** @type {HTMLElement[]} */ ([...this.#words.children]);
  }

  /** @param {string} words Beside the name. */
  note(words) {
    this.#note.textContent = words;
  }

  /** Change only the words that differ, so that nothing else moves. New ones are `open`. @param {string} text */
  write(text) {
    const words = wordsOf(text);
    this.element.classList.toggle("waiting", words.length === 0);
    const spans = this.words;
    words.forEach((word, index) => {
      const span = spans[index] ?? this.#words.appendChild(make("span", "open"));
      if (span.textContent !== `${word} `) span.textContent = `${word} `;
    });
    for (const span of spans.slice(words.length)) span.remove();
  }

  settle() {
    for (const word of this.words) word.classList.remove("open");
  }
}

/** A reply, of which clauses are heard one after the other. */
class Reply extends Turn {
  /** @type {{startsAt: number, endsAt: number, from: number, characters: number}[]} Times in ms. */
  #clauses = [];

  constructor() {
    super("reply");
  }

  /**
   * @param {string} text All so far.
   * @param {number} startsAt When what is new begins to be heard, ms.
   */
  say(text, startsAt) {
    const from = wordsOf(this.text).length;
    const characters = text.length - this.text.length;
    const last = this.#clauses.at(-1);
    if (last) last.endsAt = startsAt;
    this.#clauses.push({ startsAt, endsAt: startsAt + (1000 * characters) / CHARACTERS_PER_S, from, characters });
    this.write(text);
  }

  /**
   * Settle the words that were heard by now.
   * @param {number} now ms
   * @param {number} queuedMs Of audio that is still to be played.
   */
  hear(now, queuedMs) {
    const last = this.#clauses.at(-1);
    if (last) last.endsAt = Math.max(last.endsAt, now + queuedMs);
    const words = this.words;
    this.#clauses.forEach(({ startsAt, endsAt, from, characters }, index) => {
      let heard = (characters * (now - startsAt)) / (endsAt - startsAt);
      for (const word of words.slice(from, this.#clauses[index + 1]?.from)) {
        heard -= word.textContent?.length ?? 0;
        if (heard >= 0 || now > endsAt) word.classList.remove("open");
      }
    });
  }

  /** What was not heard yet will not be. */
  cut() {
    for (const word of this.words) if (word.classList.contains("open")) word.classList.replace("open", "unsaid");
    this.#clauses = [];
  }
}

/** The list of turns. Finals and whole replies are announced to screen readers, nothing else is. */
export class Captions {
  #scroller;
  #list;
  #announcement;
  /** @type {Map<string, Turn>} */
  #turns = new Map();
  /** @type {Reply | null} */
  #reply = null;
  #noteOfNext = "";

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} list
   * @param {HTMLElement} announcement
   */
  constructor(scroller, list, announcement) {
    this.#scroller = scroller;
    this.#list = list;
    this.#announcement = announcement;
  }

  /** @param {string} item @param {string} text */
  partial(item, text) {
    this.#turn(item).write(text);
    this.#follow();
  }

  /** @param {string} item @param {string} text Empty if there were no words after all. */
  final(item, text) {
    const turn = this.#turn(item);
    turn.write(text);
    turn.settle();
    if (text) this.#announcement.textContent = `You: ${text}`;
    else turn.element.remove();
    this.#follow();
  }

  /** What was typed. @param {string} text */
  typed(text) {
    this.final(`typed-${this.#turns.size}`, text);
  }

  /** A turn has begun; its words are yet to come. @param {string} item */
  begin(item) {
    this.#turn(item);
    this.#follow();
  }

  /** @param {string} response @param {string} text @param {number} startsAt ms */
  reply(response, text, startsAt) {
    let reply = this.#turns.get(response);
    if (!(reply instanceof Reply)) reply = this.#add(response, new Reply());
    if (this.#noteOfNext) reply.note(this.#noteOfNext);
    this.#noteOfNext = "";
    this.#reply = /** @type {Reply} */ (reply);
    this.#reply.say(text, startsAt);
    this.#follow();
  }

  /** @param {string} words Beside the current reply, or the next one. */
  noteReply(words) {
    if (this.#reply) this.#reply.note(words);
    else this.#noteOfNext = words;
  }

  /** The reply has been heard to its end, or was cut short. @param {boolean} cut */
  replyEnded(cut) {
    const reply = this.#reply;
    if (!reply) return;
    if (cut) {
      reply.cut();
      reply.note("interrupted");
    } else {
      reply.settle();
    }
    this.#announcement.textContent = `Millstream: ${reply.text}`;
    this.#reply = null;
  }

  /** @param {number} now ms @param {number} queuedMs Of audio that is still to be played. */
  tick(now, queuedMs) {
    this.#reply?.hear(now, queuedMs);
  }

  /** @param {string} item */
  #turn(item) {
    return this.#turns.get(item) ?? this.#add(item, new Turn("you"));
  }

  /** @template {Turn} T @param {string} key @param {T} turn */
  #add(key, turn) {
    this.#turns.set(key, turn);
    this.#list.append(turn.element);
    if (this.#turns.size > MAX_TURNS) {
      const [oldest] = this.#turns.keys();
      this.#turns.get(oldest)?.element.remove();
      this.#turns.delete(oldest);
    }
    return turn;
  }

  /** Stay at the end, unless the reader has scrolled away from it. */
  #follow() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const away = scrollHeight - scrollTop - clientHeight;
    const grown = this.#list.lastElementChild?.clientHeight ?? 0;
    if (away < grown + NEAR_END_PX) this.#scroller.scrollTop = scrollHeight;
  }
}
