/** The server keeps no more either. */
const MAX_ITEMS = 1_000;

/** What was said in a conversation, as items of the protocol, to be told to a connection that does not know. */
export class History {
  #items = [];

  /** Add an item, after the `previous` one if that is known, else at the end; or replace the one of its id. */
  put(item, previous = null) {
    const place = this.#place(item.id);
    if (place >= 0) {
      this.#items[place] = withTranscripts(item, this.#items[place]);
      return;
    }
    const before = this.#place(previous);
    this.#items.splice(before < 0 ? this.#items.length : before + 1, 0, item);
    if (this.#items.length > MAX_ITEMS) this.#items.shift();
  }

  /** Add the transcript of what the user said. */
  transcribe(id, transcript) {
    for (const part of this.#items[this.#place(id)]?.content ?? []) part.transcript = transcript;
  }

  remove(id) {
    this.#items = this.#items.filter((item) => item.id !== id);
  }

  /** The items that have all their text. */
  get restorable() {
    return this.#items.filter(
      ({ type, content }) => type !== "message" || content.every((part) => part.text || part.transcript),
    );
  }

  #place(id) {
    return this.#items.findIndex((item) => item.id === id);
  }
}

/** The item, which may have been shown before its transcript was known. */
function withTranscripts(item, known) {
  if (!item.content) return item;
  const content = item.content.map((part, index) =>
    part.transcript === null ? { ...part, transcript: known.content?.[index]?.transcript ?? null } : part,
  );
  return { ...item, content };
}
