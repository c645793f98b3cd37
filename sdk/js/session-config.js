import { fromProtocol } from "./errors.js";

/** `session` of the protocol as the server took it, to be told to another connection too. */
export class SessionConfig {
  #type;
  #fields;
  #pending = [];
  #count = 0;

  constructor(type, fields) {
    this.#type = type;
    this.#fields = fields;
  }

  get session() {
    return { type: this.#type, ...this.#fields };
  }

  /** How a connection begins. */
  get greeting() {
    return {
      before: "session.created",
      event: { type: "session.update", session: this.session },
      after: "session.updated",
    };
  }

  /** Events whose answer the server owes. */
  get unanswered() {
    return this.#pending.map(({ event }) => event);
  }

  /** Change fields. Resolves once they are in force. Rejects with ServerError. */
  change(fields, send) {
    const event = {
      type: "session.update",
      event_id: `update_${++this.#count}`,
      session: { type: this.#type, ...fields },
    };
    return new Promise((resolve, reject) => {
      this.#pending.push({ event, fields, resolve, reject });
      send(event).catch(reject);
    });
  }

  /** Whether an event of the protocol was an answer to a change. */
  answered(message) {
    if (message.type === "session.updated" && this.#pending.length > 0) {
      const { fields, resolve } = this.#pending.shift();
      this.#fields = merged(this.#fields, fields);
      resolve();
      return true;
    }
    const place =
      message.type === "error" ? this.#pending.findIndex((each) => each.event.event_id === message.error.event_id) : -1;
    if (place < 0) return false;
    this.#pending.splice(place, 1)[0].reject(fromProtocol(message.error));
    return true;
  }

  end(error) {
    for (const { reject } of this.#pending.splice(0)) reject(error);
  }
}

/** As the protocols merge: only the fields present change. */
export function merged(old, fields) {
  if (!isObject(old) || !isObject(fields)) return fields;
  const changed = Object.entries(fields).map(([name, value]) => [name, merged(old[name], value)]);
  return { ...old, ...Object.fromEntries(changed) };
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
