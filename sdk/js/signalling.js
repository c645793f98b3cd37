import { fragment, iceServers } from "./sdp.js";

const PATH = "/v1/realtime/calls";
const FRAGMENT = "application/trickle-ice-sdpfrag";
/** Candidates that are found by then go with the offer, later ones are trickled. */
const GATHERING_MS = 500;
const HANGING_UP_MS = 2_000;

/** Offers, answers and candidates by HTTP (docs/protocol.md; RFC 9725, section 4.3). */
export class Signalling {
  #server;
  #location = null;
  #etag = null;
  /** Candidates that the server does not know, and whether no more will be found. */
  #candidates = [];
  #complete = false;
  #trickling = false;
  #found = () => {};

  constructor(server) {
    this.#server = server;
  }

  /** Throws ServerError. */
  async iceServers() {
    const response = await this.#server.fetch(PATH, { method: "OPTIONS" });
    return iceServers(response.headers.get("Link"));
  }

  /** Offer the connection, with the protocol's session if there is one, and take the answer. Throws ServerError. */
  async offer(connection, session) {
    connection.onicecandidate = ({ candidate }) => this.#add(connection, candidate);
    await this.#gather(connection, {});
    const body = new FormData();
    body.set("sdp", connection.localDescription.sdp);
    if (session) body.set("session", JSON.stringify(session));
    this.#candidates = [];
    const response = await this.#server.fetch(PATH, { method: "POST", body });
    this.#location = response.headers.get("Location");
    this.#etag = response.headers.get("ETag");
    await connection.setRemoteDescription({ type: "answer", sdp: await response.text() });
    this.#trickle(connection);
  }

  /** Offer new credentials (RFC 9725, section 4.3.3). Returns the server's fragment. Throws ServerError. */
  async restart(connection) {
    await this.#gather(connection, { iceRestart: true });
    const candidates = this.#candidates.splice(0);
    const response = await this.#patch(connection, candidates, "*");
    this.#etag = response.headers.get("ETag");
    const answer = await response.text();
    this.#trickle(connection);
    return answer;
  }

  /** Tell the server that the call is over; one that cannot be told finds out. */
  async hangUp() {
    const signal = AbortSignal.timeout(HANGING_UP_MS);
    await this.#server.fetch(this.#location, { method: "DELETE", keepalive: true, signal }).catch(() => {});
  }

  async #gather(connection, options) {
    this.#candidates = [];
    this.#complete = this.#trickling = false;
    await connection.setLocalDescription(await connection.createOffer(options));
    const deadline = setTimeout(() => this.#found(), GATHERING_MS);
    if (!this.#complete) await new Promise((resolve) => (this.#found = resolve));
    clearTimeout(deadline);
  }

  #add(connection, candidate) {
    if (candidate?.candidate) this.#candidates.push(candidate);
    else this.#complete = true;
    if (this.#complete) this.#found();
    if (this.#trickling) this.#trickle(connection);
  }

  #trickle(connection) {
    this.#trickling = true;
    if (this.#candidates.length === 0) return;
    const telling = this.#patch(connection, this.#candidates.splice(0), this.#etag);
    telling.catch(() => {}); // the other candidates may do; if not, the connection fails
  }

  #patch({ localDescription: { sdp } }, candidates, etag) {
    return this.#server.fetch(this.#location, {
      method: "PATCH",
      headers: { "Content-Type": FRAGMENT, ...(etag ? { "If-Match": etag } : {}) },
      body: fragment(sdp, candidates, this.#complete),
    });
  }
}
