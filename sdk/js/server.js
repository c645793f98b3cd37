import { ServerError, fromProtocol } from "./errors.js";

const LOCAL = "http://127.0.0.1:8000";
const KEY_PROTOCOL = "openai-insecure-api-key.";
const PATIENCE_MS = 30_000;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Where a server is, and the key to it. */
export class Server {
  /** Throws TypeError for what is no URL of a server, or a key that cannot be sent. */
  constructor({ url = globalThis.location?.origin ?? LOCAL, apiKey }) {
    if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
      throw new TypeError(`the URL of a server begins with http:// or https://, but this is ${JSON.stringify(url)}`);
    }
    if (apiKey !== undefined && !TOKEN.test(apiKey)) {
      throw new TypeError("apiKey has a character that a WebSocket cannot carry");
    }
    this.url = url.replace(/\/+$/, "");
    this.apiKey = apiKey;
  }

  /** Browsers cannot set headers on a WebSocket, so the key is named as a subprotocol (docs/protocol.md). */
  get protocols() {
    return ["realtime", ...(this.apiKey ? [KEY_PROTOCOL + this.apiKey] : [])];
  }

  socketUrl(path) {
    return this.url.replace("http", "ws") + path;
  }

  /**
   * An HTTP response that is no error, within half a minute unless there is a `signal`. Throws ServerError, or what
   * `fetch` throws when it is aborted.
   */
  async fetch(path, { headers, signal, ...init } = {}) {
    const authorization = this.apiKey ? { Authorization: `Bearer ${this.apiKey}` } : {};
    let response;
    try {
      response = await fetch(new URL(path, `${this.url}/`), {
        ...init,
        headers: { ...headers, ...authorization },
        signal: signal ?? AbortSignal.timeout(PATIENCE_MS),
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ServerError(
        `cannot reach ${this.url}: ${error.cause?.message ?? error.message}`,
        "unreachable",
        null,
        error,
      );
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }

  /** Why a WebSocket could not be opened, which a browser does not tell: a request with the same key is told. */
  async explain() {
    try {
      await this.fetch("/v1/models");
    } catch (error) {
      return error;
    }
    return new ServerError(`${this.url} does not let a WebSocket be opened`, "unreachable");
  }
}

async function refusal(response) {
  try {
    return fromProtocol((await response.json()).error);
  } catch {
    return new ServerError(`the server answered HTTP ${response.status}`, `http_${response.status}`);
  }
}
