import { Channel } from "./channel.js";
import { ServerError } from "./errors.js";
import { Signalling } from "./signalling.js";
import { renewed } from "./sdp.js";
import { within } from "./within.js";

const CONNECTING_MS = 15_000;
const FIRST_WAIT_MS = 4_000;

/**
 * A link over WebRTC: events by a data channel, media by tracks.
 *
 * `tracks` are `{kind, stream}`: the first track of that kind is sent, and one comes back in `stream`. `greeting()`
 * tells what the channel sends first, and what the server then says. When the path breaks, ICE is restarted: the
 * session knows nothing of it, so its listener is told `resumed(attempts)`.
 */
export class Call {
  state = "open";
  stream = new MediaStream();
  #parts;
  #attempts;
  #listener;
  #connection;
  #signalling;
  #channel;
  #recovering = false;
  #changed = () => {};
  /** A browser that leaves the page does not tell the server. */
  #leave = () => this.close();

  constructor(server, parts, attempts, listener) {
    this.#signalling = new Signalling(server);
    this.#parts = parts;
    this.#attempts = attempts;
    this.#listener = listener;
  }

  /** Rejects with ServerError. */
  async open() {
    try {
      await within(CONNECTING_MS, this.#connect(), "no connection over WebRTC (UDP may be blocked)");
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  /** Send an event. Waits while the network takes no more. Throws ServerError. */
  async send(message, sent = () => {}) {
    if (this.state === "closed") throw new ServerError("the session is closed", "session_closed");
    await this.#channel.send(message);
    sent();
  }

  close() {
    this.#end(null);
  }

  async #connect() {
    const connection = new RTCPeerConnection({ iceServers: await this.#signalling.iceServers() });
    this.#connection = connection;
    connection.ontrack = ({ track }) => this.stream.addTrack(track);
    for (const { kind, stream } of this.#parts.tracks) {
      const track = stream?.getTracks().find((each) => each.kind === kind);
      connection.addTransceiver(track ?? kind, track ? { streams: [stream] } : { direction: "recvonly" });
    }
    this.#channel = new Channel(connection.createDataChannel(this.#parts.channel), this.#parts.greeting());
    await this.#signalling.offer(connection, this.#parts.session);
    await this.#channel.greeted;
    if (this.state === "closed") return;
    connection.onconnectionstatechange = () => this.#stateChanged();
    addEventListener("pagehide", this.#leave);
    this.#channel.listen(
      (message) => this.state !== "closed" && this.#listener.message(message),
      (error) => this.#end(error),
    );
  }

  #stateChanged() {
    this.#changed();
    const { connectionState } = this.#connection;
    if (connectionState !== "disconnected" && connectionState !== "failed") return;
    if (!this.#recovering) this.#recover().catch((error) => this.#end(error));
  }

  async #recover() {
    this.#recovering = true;
    this.state = "reconnecting";
    for (let attempt = 1; this.state === "reconnecting"; attempt++) {
      if (attempt > this.#attempts) throw new ServerError("the connection broke", "connection_lost");
      this.#listener.reconnecting(attempt, "the network path broke");
      await this.#restart();
      if (!(await this.#connected(FIRST_WAIT_MS * attempt))) continue;
      this.state = "open";
      this.#listener.resumed(attempt);
    }
    this.#recovering = false;
  }

  async #restart() {
    const { sdp } = this.#connection.remoteDescription;
    try {
      const ours = await this.#signalling.restart(this.#connection);
      await this.#connection.setRemoteDescription({ type: "answer", sdp: renewed(sdp, ours) });
    } catch (error) {
      if (error.code !== "unreachable") throw error;
      await this.#connection.setLocalDescription({ type: "rollback" });
    }
  }

  /** Whether the connection works again within so long. */
  async #connected(ms) {
    const deadline = performance.now() + ms;
    while (this.#connection.connectionState !== "connected" && this.state === "reconnecting") {
      const left_ms = deadline - performance.now();
      if (left_ms <= 0) return false;
      let timer;
      await new Promise((resolve) => {
        this.#changed = resolve;
        timer = setTimeout(resolve, left_ms);
      });
      clearTimeout(timer);
    }
    return this.state === "reconnecting";
  }

  #end(error) {
    if (this.state === "closed") return;
    this.#release();
    this.#listener.ended(error);
  }

  #release() {
    this.state = "closed";
    this.#changed();
    removeEventListener("pagehide", this.#leave);
    for (const track of this.stream.getTracks()) track.stop();
    for (const sender of this.#connection?.getSenders() ?? []) void sender.replaceTrack(null);
    void this.#hangUp();
  }

  /** The server is told first: to it a channel that closes is the end of the call. */
  async #hangUp() {
    if (this.#channel?.isOpen) await this.#signalling.hangUp();
    this.#channel?.close();
    this.#connection?.close();
  }
}

/** What a call of speech is made of, in both directions. */
export function voiceCall(session, microphone) {
  const tracks = [{ kind: "audio", stream: microphone?.stream }];
  return { channel: "oai-events", session, tracks, greeting: () => ({ after: "session.created" }) };
}
