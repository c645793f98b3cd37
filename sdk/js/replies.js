/** Which replies are wanted and which are being made, and what they tell. */
export class Replies {
  /** Fields of the reply that was asked for and has not said anything yet. */
  asked = null;
  /** Replies in progress, and whether each is part of the conversation. */
  #open = new Map();
  /** What the items of replies in progress have said so far. */
  #texts = new Map();
  /** Calls of the last reply that have no result. */
  #calls = new Set();
  /** Whether there are results that no reply has seen. */
  #results = false;

  get underWay() {
    return this.#open.size > 0;
  }

  /** Whether a reply to the results of tools is to be asked for now. */
  get due() {
    return this.#results && this.#calls.size === 0 && this.asked === null && ![...this.#open.values()].includes(true);
  }

  ask(fields) {
    if (fields.conversation === "none") return;
    this.asked = fields;
    this.#results = false;
  }

  result(callId) {
    this.#calls.delete(callId);
    this.#results = true;
  }

  /** The reply to the results has to wait for another, after all. */
  refused() {
    this.asked = null;
    this.#results = true;
  }

  /** What an event of the protocol says of replies; null if it says nothing. */
  told(message) {
    const { response_id: response, item_id: item } = message;
    switch (message.type) {
      case "response.created":
        return this.#begin(message.response);
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta":
        return this.#say(response, item, message.delta);
      case "response.output_item.done":
        return this.#call(response, message.item);
      case "response.done":
        return this.#end(message.response);
      case "output_audio_buffer.started":
        return { type: "playbackStarted" };
      case "output_audio_buffer.stopped":
        return { type: "playbackStopped", cut: false };
      case "output_audio_buffer.cleared":
        return { type: "playbackStopped", cut: true };
      case "conversation.item.truncated":
        return { type: "truncated", item, playedMs: message.audio_end_ms };
    }
    return null;
  }

  /** The connection broke: events of the replies that will not go on, and what their items had said. */
  drop() {
    const problem = "connection_lost";
    const lost = [...this.#open.keys()].map((response) => ({
      type: "replyDone",
      response,
      status: "failed",
      problem,
      usage: null,
    }));
    const texts = new Map(this.#texts);
    this.#open.clear();
    this.#texts.clear();
    return { lost, texts };
  }

  #begin({ id, conversation_id: conversation }) {
    this.#open.set(id, conversation !== null);
    if (conversation !== null) {
      this.#calls.clear();
      this.#results = false;
    }
    return { type: "replyStarted", response: id };
  }

  #say(response, item, delta) {
    if (this.#open.get(response)) this.asked = null;
    const text = (this.#texts.get(item) ?? "") + delta;
    this.#texts.set(item, text);
    return { type: "replyText", response, item, delta, text };
  }

  #call(response, { type, status, id: item, call_id: callId, name, arguments: json }) {
    if (type !== "function_call" || status !== "completed") return null;
    if (this.#open.get(response)) {
      this.asked = null;
      this.#calls.add(callId);
    }
    return { type: "toolCall", response, item, callId, name, arguments: JSON.parse(json) };
  }

  #end({ id: response, status, status_details: details, output, usage }) {
    if (this.#open.get(response)) this.asked = null;
    this.#open.delete(response);
    for (const { id } of output) this.#texts.delete(id);
    const problem = details?.error?.message ?? details?.reason ?? null;
    return { type: "replyDone", response, status, problem, usage: usage ? tokens(usage) : null };
  }
}

function tokens({ input_tokens: input, output_tokens: output, input_token_details: details }) {
  return { input, cached: details.cached_tokens, output };
}
