const TIMEOUT_MS = 60_000;
/** The server takes no longer results. */
const MAX_OUTPUT_CHARS = 100_000;

/** Functions that the model may call; those with `run` are called by the SDK. */
export class Tools {
  #tools;

  /** Throws TypeError. */
  constructor(tools = []) {
    for (const { name, parameters } of tools) {
      if (typeof name !== "string") throw new TypeError("each of tools has a name");
      if (typeof parameters !== "object") throw new TypeError(`tools: ${name} has no parameters, a JSON schema`);
    }
    this.#tools = new Map(tools.map((tool) => [tool.name, tool]));
  }

  /** As the protocol has them. */
  get definitions() {
    return [...this.#tools.values()].map(({ run, ...definition }) => ({ type: "function", ...definition }));
  }

  runs(name) {
    return this.#tools.get(name)?.run !== undefined;
  }

  /** What a call gives, as the model is told: its error, too. */
  async run({ name, arguments: given }) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`took longer than ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
    });
    try {
      return { output: outputText(await Promise.race([this.#tools.get(name).run(given), late])), failed: false };
    } catch (error) {
      return { output: `${error.name}: ${error.message}`, failed: true };
    } finally {
      clearTimeout(timer);
    }
  }
}

/** A text as it is, all else as JSON. Throws RangeError if it is too long. */
export function outputText(output) {
  const text = typeof output === "string" ? output : JSON.stringify(output ?? null);
  if (text.length <= MAX_OUTPUT_CHARS) return text;
  throw new RangeError(`a tool's result has at most ${MAX_OUTPUT_CHARS} characters, this one has ${text.length}`);
}
