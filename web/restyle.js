/** The pane that repaints video: what goes in beside what comes out, picture by picture. */

import { Camera, restyle } from "/sdk/millstream.js";

import { LOOKS } from "./choices.js";
import { Companions } from "./companions.js";
import { byId, make } from "./dom.js";
import { cover, fill, still } from "./picture.js";
import { Notices, missingWorkers } from "./problems.js";
import { Rate } from "./rate.js";
import { apiKey, chosenRadio } from "./settings.js";
import { splitBy } from "./split.js";

const NEEDS = ["restyle"];
const CLIP_STILL = "media/bunny.jpg";
/** Timesteps of a denoising schedule; the last keeps most of the picture. */
const STAGES = 50;
const TYPING_PAUSE_MS = 500;
/** With one picture being painted and one on its way, the server never waits and hardly any is dropped. */
const IN_FLIGHT = 2;
const LOST_MS = 3_000;
const READOUT_MS = 500;

/** @typedef {import("/sdk/millstream.js").Restyling} Restyling */
/** @typedef {import("/sdk/millstream.js").RestylingEvent} RestylingEvent */
/** @typedef {import("/sdk/millstream.js").RestyleFields} RestyleFields */

export class Restyle {
  #pane = byId("restyle");
  #start = byId("restyle-start", HTMLButtonElement);
  #status = byId("restyle-status");
  #before = byId("before", HTMLCanvasElement);
  #after = byId("after", HTMLCanvasElement);
  #prompt = byId("prompt", HTMLInputElement);
  #strength = byId("strength", HTMLInputElement);
  #source = byId("source", HTMLFieldSetElement);
  #film = byId("film", HTMLVideoElement);
  #streams = byId("streams", HTMLFieldSetElement);
  #companions = new Companions(byId("companions"), (prompt) => this.#choose(prompt), (error) => this.#tell(error));
  #notices = new Notices(byId("restyle-notice"));
  #offered = false;
  #answerable = true;
  #starting = false;
  /** @type {Restyling | null} */
  #session = null;
  /** @type {Camera | null} */
  #camera = null;
  /** @type {Map<number, Blob>} What was sent and not answered yet, by pts. */
  #sent = new Map();
  /** @type {() => void} Called whenever a picture was answered. */
  #answered = () => {};
  #rate = new Rate();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #typing;

  constructor() {
    splitBy(byId("split"), byId("divider"));
    this.#fillLooks();
    this.#prompt.value = LOOKS[0][1];
    this.#start.addEventListener("click", () => (this.#session ? this.stop() : this.#open()));
    this.#source.addEventListener("change", () => this.#changeSource());
    this.#streams.addEventListener("change", () => this.#session && this.#openCompanions());
    this.#prompt.addEventListener("input", () => this.#typed());
    byId("prompt-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#session) this.#change({ prompt: this.#prompt.value.trim() });
      else if (this.#answerable) void this.#open();
    });
    this.#strength.addEventListener("change", () => this.#change({ denoising: this.#denoising() }));
    setInterval(() => this.#readOut(), READOUT_MS);
  }

  get shown() {
    return !this.#pane.hidden;
  }

  /** Show the pane once its service is there, and say when it is gone. @param {Set<string>} services */
  offer(services) {
    if (!this.#offered && services.has("restyle")) {
      this.#offered = true;
      this.#pane.hidden = false;
      void this.#showStills();
    }
    if (!this.#offered) return;
    const missing = missingWorkers(NEEDS, services);
    this.#answerable = missing === null;
    this.#notices.standing(missing);
    this.#buttons();
  }

  stop() {
    this.#session?.close();
    this.#companions.close();
    this.#camera?.close();
    this.#film.pause();
    this.#session = this.#camera = null;
    this.#sent.clear();
    this.#answered();
    this.#rate = new Rate();
    this.#show("ready", "Ready");
    this.#buttons();
  }

  async #open() {
    if (this.#starting) return;
    const source = chosenRadio(this.#source);
    this.#starting = true;
    this.#notices.passing(null);
    this.#show("ready", "Connecting");
    this.#buttons();
    try {
      this.#camera = await this.#openCamera(source);
      const fields = this.#strength.dataset.moved ? { denoising: this.#denoising() } : {};
      this.#session = await restyle(this.#prompt.value.trim() || "a photograph", { apiKey: apiKey(), ...fields });
      this.#show("active", "Live");
      void this.#follow(this.#session);
      void this.#send(this.#session, this.#camera);
      await this.#openCompanions();
    } catch (error) {
      this.stop();
      this.#tell(error);
    } finally {
      this.#starting = false;
      this.#buttons();
    }
  }

  async #openCompanions() {
    await this.#companions.open(Number(chosenRadio(this.#streams)) - 1, this.#prompt.value.trim());
  }

  /** @param {string} source */
  async #openCamera(source) {
    if (source === "camera") return Camera.open();
    if (source === "screen") return Camera.from(await sharedScreen());
    await this.#film.play();
    return Camera.from(this.#film);
  }

  /** @param {Restyling} session @param {Camera} camera */
  async #send(session, camera) {
    try {
      for await (const { picture, pts } of camera) {
        if (session !== this.#session) return;
        this.#sent.set(pts, picture);
        await Promise.all([session.send(picture, pts), this.#companions.offer(picture, pts)]);
        if (this.#sent.size >= IN_FLIGHT) await this.#nextAnswer();
      }
    } catch (error) {
      if (session === this.#session) this.#tell(error);
    }
    if (session === this.#session) this.stop();
  }

  /** Resolves when a picture was answered, or those under way went down with their worker. */
  async #nextAnswer() {
    const lost = setTimeout(() => {
      this.#sent.clear();
      this.#answered();
    }, LOST_MS);
    await new Promise((/** @type {(none: void) => void} */ go) => (this.#answered = go));
    clearTimeout(lost);
  }

  /** @param {Restyling} session */
  async #follow(session) {
    try {
      for await (const event of session) if (session === this.#session) await this.#take(event);
    } catch (error) {
      if (session === this.#session) this.#tell(error);
    }
    if (session === this.#session) this.stop();
  }

  /** @param {RestylingEvent} event */
  async #take(event) {
    if (event.type === "reconnecting") return this.#show("ready", `Connecting again, attempt ${event.attempt}`);
    if (event.type === "reconnected") return this.#resume();
    if (event.type === "refused") return this.#notices.passing(["The server refused that.", event.message]);
    const sent = this.#sent.get(event.pts);
    for (const pts of this.#sent.keys()) if (pts <= event.pts) this.#sent.delete(pts);
    this.#answered();
    if (event.type === "unreadable") this.#notices.passing(["The server could not read a picture.", event.message]);
    if (event.type !== "restyled" || !sent || !event.picture) return;
    this.#rate.add(performance.now(), event.delayMs);
    await this.#draw(sent, new Blob([event.picture], { type: "image/jpeg" }));
  }

  #resume() {
    this.#sent.clear();
    this.#answered();
    this.#show("active", "Live");
  }

  /** Both at once, so that the divider parts one moment. @param {Blob} before @param {Blob} after */
  async #draw(before, after) {
    const [input, output] = await Promise.all([createImageBitmap(before), createImageBitmap(after)]);
    fill(this.#after, output);
    this.#fitBefore(output.width / output.height, Math.min(input.width, input.height));
    cover(this.#before, input);
    input.close();
    output.close();
  }

  /** @param {number} ratio Of the output, width to height. @param {number} height */
  #fitBefore(ratio, height) {
    const width = Math.round(height * ratio);
    if (this.#before.width !== width || this.#before.height !== height) Object.assign(this.#before, { width, height });
  }

  /** Before anything moves: a picture of the clip, and what the look makes of it. */
  async #showStills() {
    const look = LOOKS.find(([, prompt]) => prompt === this.#prompt.value.trim());
    const [before, after] = await Promise.all([still(CLIP_STILL), look ? still(`media/looks/${look[0]}.jpg`) : null]);
    if (this.#session) return;
    fill(this.#before, before);
    if (after) fill(this.#after, after);
  }

  /** @returns {{t_indices: number[]}} */
  #denoising() {
    return { t_indices: [STAGES - Number(this.#strength.value)] };
  }

  #typed() {
    clearTimeout(this.#typing);
    this.#markLook();
    this.#typing = setTimeout(() => this.#change({ prompt: this.#prompt.value.trim() }), TYPING_PAUSE_MS);
  }

  /** @param {string} prompt */
  #choose(prompt) {
    this.#prompt.value = prompt;
    this.#change({ prompt });
  }

  /** @param {RestyleFields} fields */
  #change(fields) {
    clearTimeout(this.#typing);
    if ("denoising" in fields) this.#strength.dataset.moved = "yes";
    this.#markLook();
    if (fields.prompt === "") return;
    if (!this.#session) return void this.#showStills();
    this.#session.change(fields).catch((error) => this.#tell(error));
  }

  /** @param {unknown} error */
  #tell(error) {
    this.#notices.problem(error, chosenRadio(this.#source));
  }

  #changeSource() {
    const running = this.#session !== null;
    this.stop();
    if (running) void this.#open();
  }

  #markLook() {
    const prompt = this.#prompt.value.trim();
    for (const button of byId("looks").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.title === prompt));
    }
  }

  #readOut() {
    const reading = this.#rate.read(performance.now());
    byId("fps").textContent = reading ? reading.perSecond.toFixed(1) : "–";
    byId("delay").textContent = reading ? reading.median.toFixed(0) : "–";
    byId("dropped").textContent = this.#session ? String(this.#session.dropped) : "–";
  }

  /** @param {"ready" | "active"} state @param {string} words */
  #show(state, words) {
    this.#status.dataset.state = state;
    this.#status.textContent = words;
  }

  #buttons() {
    this.#start.textContent = this.#session ? "Stop" : "Start";
    this.#start.classList.toggle("running", this.#session !== null);
    this.#start.disabled = this.#starting || (!this.#session && !this.#answerable);
  }

  #fillLooks() {
    for (const [look, prompt] of LOOKS) {
      const image = Object.assign(new Image(256, 256), { loading: "lazy", alt: "", src: `media/looks/${look}.jpg` });
      const button = Object.assign(make("button", "", image), { type: "button", title: prompt });
      button.setAttribute("aria-label", `${look}: ${prompt}`);
      button.setAttribute("aria-pressed", String(prompt === LOOKS[0][1]));
      button.addEventListener("click", () => this.#choose(prompt));
      byId("looks").append(button);
    }
  }
}

/** @returns {Promise<MediaStream>} Rejects with a DOMException if the visitor declines. */
function sharedScreen() {
  if (!navigator.mediaDevices?.getDisplayMedia) throw new DOMException("no screen can be shared", "NotSupportedError");
  return navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 30 } });
}
