/** Plays replies that come over a WebSocket, and tells the server what of them was heard when they are stopped. */
export class Playback {
  #speaker;
  #truncate;
  #unwatch;
  #cut = false;
  /** Items that the server knows. */
  #items = new Set();

  /** `truncate(item, playedS)` tells the server, `notice(event)` whoever listens to the session. */
  constructor(speaker, truncate, notice) {
    this.#speaker = speaker;
    this.#truncate = truncate;
    this.#unwatch = speaker.watch((playing) => {
      notice(playing ? { type: "playbackStarted" } : { type: "playbackStopped", cut: this.#cut });
    });
  }

  play(item, pcm) {
    this.#items.add(item);
    this.#speaker.play(item, pcm);
  }

  stop() {
    this.#cut = true;
    const cuts = this.#speaker.stop();
    this.#cut = false;
    for (const { item, playedS } of cuts) if (this.#items.has(item)) this.#truncate(item, playedS);
    this.#items.clear();
  }

  /** Another connection knows nothing of what is being played. */
  forget() {
    this.#items.clear();
  }

  close() {
    this.forget();
    this.stop();
    this.#unwatch();
  }
}
