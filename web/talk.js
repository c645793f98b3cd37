/** The pane where one talks, or, where only `listen` is served, reads what is said. */

import { Speaker, converse, transcribe } from "/sdk/millstream.js";

import { Captions } from "./captions.js";
import { SAMPLES, VOICES } from "./choices.js";
import { byId } from "./dom.js";
import { Line } from "./line.js";
import { Notices, missingWorkers } from "./problems.js";
import { Ribbon } from "./ribbon.js";
import { apiKey, chosenRadio, rememberRadios, rememberSelect } from "./settings.js";

const CONVERSATION = ["listen", "think", "speak"];
const CAPTIONS = ["listen"];
/** Where less motion is wanted, the ribbon moves so seldom. */
const STILL_FRAME_MS = 500;

/** @typedef {import("/sdk/millstream.js").Conversation} Conversation */
/** @typedef {import("/sdk/millstream.js").Transcription} Transcription */
/** @typedef {import("/sdk/millstream.js").ConversationEvent | import("/sdk/millstream.js").TranscriptionEvent} Event */

export class Talk {
  #pane = byId("talk");
  #start = byId("talk-start", HTMLButtonElement);
  #mute = byId("talk-mute", HTMLButtonElement);
  #end = byId("talk-end", HTMLButtonElement);
  #status = byId("talk-status");
  #latency = byId("turn-latency");
  #voice = byId("voice", HTMLSelectElement);
  #transport = byId("transport", HTMLFieldSetElement);
  #notices = new Notices(byId("talk-notice"));
  #captions = new Captions(byId("log"), byId("turns"), byId("announcement"));
  #ribbon = new Ribbon(byId("ribbon", HTMLCanvasElement), () => this.#needs === CONVERSATION);
  /** @type {string[] | null} The services that this pane works with. */
  #needs = null;
  /** @type {Conversation | Transcription | null} */
  #session = null;
  /** @type {Line | null} */
  #line = null;
  /** @type {Speaker | null} */
  #speaker = null;
  #starting = false;
  #answerable = true;
  #speaking = false;
  #making = false;
  /** @type {number | null} When a turn that is still to be answered was over, ms; NaN: when you were last heard. */
  #asked = null;

  constructor() {
    this.#fillVoices();
    this.#fillSamples();
    rememberSelect(this.#voice);
    rememberRadios(this.#transport, "websocket");
    this.#start.addEventListener("click", () => (this.#line?.live ? this.stop() : this.#open(true)));
    this.#mute.addEventListener("click", () => this.#toggleMute());
    this.#end.addEventListener("click", () => this.stop());
    this.#voice.addEventListener("change", () => this.#try(this.#changeVoice()));
    this.#transport.addEventListener("change", () => this.#starting || this.stop());
    byId("typed", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#try(this.#type());
    });
    this.#show("ready", "Ready");
  }

  get shown() {
    return !this.#pane.hidden;
  }

  /** Show the pane once its services are there, and say which are gone later. @param {Set<string>} services */
  offer(services) {
    const full = CONVERSATION.every((service) => services.has(service));
    if (full && !this.#session) this.#needs = CONVERSATION;
    else if (!this.#needs && services.has("listen")) this.#needs = CAPTIONS;
    if (!this.#needs) return;
    const converses = this.#needs === CONVERSATION;
    this.#pane.hidden = false;
    byId("talk-title").textContent = converses ? "Talk" : "Captions";
    for (const id of ["typed", "talk-options", "answers"]) byId(id).hidden = !converses;
    for (const element of this.#pane.querySelectorAll(".figures, .lane.reply")) {
      /** @type {HTMLElement} */ (element).hidden = !converses;
    }
    const missing = missingWorkers(this.#needs, services);
    this.#answerable = missing === null;
    this.#notices.standing(missing);
    this.#buttons();
  }

  stop() {
    this.#session?.close();
    void this.#line?.close();
    void this.#speaker?.close();
    this.#session = this.#line = this.#speaker = null;
    this.#asked = null;
    this.#captions.replyEnded(true);
    this.#show("ready", "Ready");
    this.#buttons();
  }

  /** @param {boolean} withMicrophone */
  async #open(withMicrophone) {
    if (this.#starting) return;
    if (this.#session) this.stop();
    this.#starting = true;
    this.#notices.passing(null);
    this.#show("ready", "Connecting");
    this.#buttons();
    try {
      this.#line = await Line.open(withMicrophone);
      this.#session = await this.#connect(this.#line);
      this.#show("live", "Listening");
      byId("invitation").hidden = true;
      void this.#follow(this.#session);
      requestAnimationFrame((now) => this.#watch(now));
    } catch (error) {
      this.stop();
      this.#notices.problem(error, "microphone");
    } finally {
      this.#starting = false;
      this.#buttons();
    }
  }

  /** @param {Line} line */
  async #connect(line) {
    const options = { apiKey: apiKey(), microphone: line.input };
    if (this.#needs === CAPTIONS) return transcribe(options);
    this.#speaker = await Speaker.open();
    const transport = /** @type {"websocket" | "webrtc"} */ (chosenRadio(this.#transport));
    return converse({ ...options, speaker: this.#speaker, transport, voice: this.#voice.value });
  }

  /** @param {Conversation | Transcription} session */
  async #follow(session) {
    try {
      for await (const event of session) if (session === this.#session) this.#take(event);
    } catch (error) {
      if (session === this.#session) this.#notices.problem(error, "microphone");
    }
    if (session === this.#session) this.stop();
  }

  /** @param {Event} event */
  #take(event) {
    switch (event.type) {
      case "speechStarted":
        this.#show("active", "Hearing you");
        return this.#captions.begin(event.item);
      case "partial":
        return this.#captions.partial(event.item, event.text);
      case "speechStopped":
        this.#asked = NaN;
        return this.#show("live", this.#needs === CONVERSATION ? "Thinking" : "Listening");
      case "final":
        if (!event.text) this.#rest();
        return this.#captions.final(event.item, event.text);
      case "transcriptFailed":
        this.#captions.final(event.item, "");
        return this.#notices.passing(["Some words were lost.", event.message]);
      case "replyStarted":
        this.#making = true;
        return;
      case "replyText":
        return this.#captions.reply(event.response, event.text, performance.now() + this.#queuedMs);
      case "playbackStarted":
        return this.#replyHeard();
      case "playbackStopped":
        return this.#replySilent(event.cut);
      case "replyDone":
        return this.#replyDone(event.status, event.problem);
      case "reconnecting":
        return this.#show("ready", `Connecting again, attempt ${event.attempt}`);
      case "reconnected":
        return this.#rest();
      case "audioLost":
        return this.#notices.passing(["The connection is slow.", `${event.seconds.toFixed(1)} s of speech are lost.`]);
      case "refused":
        return this.#notices.passing(["The server refused a request.", event.message]);
    }
  }

  /** Of the reply's audio that is still to be played. */
  get #queuedMs() {
    return 1000 * (this.#speaker?.queuedS ?? 0);
  }

  #replyHeard() {
    this.#speaking = true;
    this.#show("active", "Speaking");
    const from = Number.isNaN(this.#asked) ? this.#ribbon.lastHeard() : this.#asked;
    this.#asked = null;
    if (from === null) return;
    const to = performance.now();
    const latency = ((to - from) / 1000).toFixed(2);
    this.#latency.textContent = latency;
    this.#captions.noteReply(`after ${latency} s`);
    this.#ribbon.mark({ from, to, label: `${latency} s` });
  }

  /** @param {boolean} cut */
  #replySilent(cut) {
    this.#speaking = false;
    if (!cut && this.#making) return;
    this.#captions.replyEnded(cut);
    if (!cut) this.#rest();
  }

  /** @param {string} status @param {string | null} problem */
  #replyDone(status, problem) {
    this.#making = false;
    if (status === "failed") this.#notices.passing(["The reply failed.", problem ?? ""]);
    if (this.#speaking) return;
    this.#captions.replyEnded(status !== "completed");
    if (status !== "cancelled") this.#rest();
  }

  #rest() {
    this.#show("live", "Listening");
  }

  /** @param {number} now */
  #watch(now) {
    if (!this.#session) return;
    this.#ribbon.sample(now, this.#line?.input.level ?? 0, this.#speaker?.level ?? 0);
    this.#captions.tick(now, this.#queuedMs);
    this.#ribbon.draw();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      setTimeout(() => this.#watch(performance.now()), STILL_FRAME_MS);
    } else {
      requestAnimationFrame((next) => this.#watch(next));
    }
  }

  /** @param {string} file */
  async #say(file) {
    if (!this.#session) await this.#open(false);
    await this.#line?.say(file);
  }

  async #type() {
    const field = byId("typed-text", HTMLInputElement);
    const text = field.value.trim();
    if (!text) return;
    if (!this.#session) await this.#open(false);
    if (!this.#session || !("sendText" in this.#session)) return;
    field.value = "";
    this.#captions.typed(text);
    this.#asked = performance.now();
    this.#show("live", "Thinking");
    if (this.#speaking) await this.#session.cancel();
    await this.#session.sendText(text);
  }

  /** @param {Promise<void>} doing What the visitor asked for; why it fails is told. */
  #try(doing) {
    doing.catch((error) => this.#notices.problem(error, "microphone"));
  }

  #toggleMute() {
    const muted = this.#mute.getAttribute("aria-pressed") !== "true";
    this.#mute.setAttribute("aria-pressed", String(muted));
    if (this.#line) this.#line.muted = muted;
  }

  async #changeVoice() {
    if (this.#session && "sendText" in this.#session) {
      await this.#session.update({ audio: { output: { voice: this.#voice.value } } });
    }
  }

  /** @param {"ready" | "live" | "active"} state @param {string} words */
  #show(state, words) {
    this.#status.dataset.state = state;
    this.#status.textContent = words;
  }

  #buttons() {
    const live = this.#line?.live ?? false;
    const running = live && this.#session !== null;
    this.#start.textContent = running ? "Stop" : this.#needs === CAPTIONS ? "Start listening" : "Start talking";
    this.#start.classList.toggle("running", running);
    this.#start.disabled = this.#starting || (!this.#session && !this.#answerable);
    for (const button of this.#pane.querySelectorAll("form button, #samples button")) {
      /** @type {HTMLButtonElement} */ (button).disabled = this.#start.disabled;
    }
    this.#mute.hidden = !running;
    this.#end.hidden = running || !this.#session;
    if (!running) this.#mute.setAttribute("aria-pressed", "false");
  }

  #fillVoices() {
    for (const [label, voices] of Object.entries(VOICES)) {
      const group = Object.assign(document.createElement("optgroup"), { label });
      group.append(...voices.map(([name, words]) => new Option(words, name)));
      this.#voice.append(group);
    }
  }

  #fillSamples() {
    for (const [file, words] of SAMPLES) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: words });
      button.addEventListener("click", () => this.#try(this.#say(file)));
      byId("samples").append(button);
    }
  }
}
