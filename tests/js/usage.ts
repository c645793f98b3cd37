/** What a user may write; `tsc` checks it against the declarations. It is never run. */

import {
  Camera,
  type Conversation,
  type ConversationEvent,
  DeviceError,
  Microphone,
  ServerError,
  Speaker,
  converse,
  createClientSecret,
  restyle,
  speak,
  transcribe,
} from "millstream";
import { WebSocket } from "ws";

export async function transcribed(pcm: Int16Array, bytes: Uint8Array): Promise<string[]> {
  const transcription = await transcribe({ url: "https://example.org", apiKey: "key", WebSocket, lookaheadMs: 480 });
  await transcription.send(pcm);
  await transcription.send(bytes);
  await transcription.update({ transcription: { language: "en" } });
  await transcription.finish();
  const texts: string[] = [];
  for await (const event of transcription) {
    if (event.type === "final") texts.push(`${event.text} (${event.seconds.toFixed(1)} s, ${event.language ?? "?"})`);
    // @ts-expect-error: transcriptions have no replies
    if (event.type === "replyText") texts.push(event.text);
  }
  return texts;
}

export async function talk(show: (text: string) => void): Promise<Conversation> {
  const microphone = await Microphone.open({ echoCancellation: true });
  const speaker = await Speaker.open();
  const conversation = await converse({
    transport: "webrtc",
    microphone,
    speaker,
    turnDetection: { type: "semantic_vad", eagerness: "low" },
    tools: [{ name: "time", parameters: { type: "object", properties: {} }, run: () => new Date().toISOString() }],
    signal: AbortSignal.timeout(60_000),
  });
  for await (const event of conversation) show(described(event));
  for (const { item, playedS } of speaker.stop()) await conversation.truncate(item, playedS);
  return conversation;
}

/** Every event is of a known type. */
function described(event: ConversationEvent): string {
  switch (event.type) {
    case "speechStarted":
    case "speechStopped":
      return `${event.item} at ${event.atMs.toFixed(0)} ms`;
    case "partial":
    case "final":
    case "replyText":
      return event.text;
    case "replyAudio":
      return `${event.pcm.length} samples`;
    case "replyDone":
      return `${event.status}: ${event.problem ?? "well"}, ${event.usage?.output ?? 0} tokens`;
    case "toolCall":
      return `${event.name}(${Object.keys(event.arguments).join()})`;
    case "toolResult":
      return event.output;
    case "transcriptFailed":
    case "refused":
      return `${event.code}: ${event.message}`;
    case "reconnecting":
      return `${event.attempt}: ${event.reason}`;
    case "reconnected":
      return `${event.lostS} s lost`;
    case "audioLost":
      return `${event.seconds} s`;
    case "playbackStarted":
      return "playing";
    case "playbackStopped":
      return event.cut ? "cut" : "played";
    case "truncated":
      return `${event.playedMs} ms`;
    case "replyStarted":
      return event.response;
    case "forgotten":
      return event.item;
    default:
      return event satisfies never;
  }
}

export async function painted(video: HTMLVideoElement, canvas: HTMLCanvasElement): Promise<void> {
  const restyling = await restyle([{ prompt: "pencil", weight: 1 }], {
    camera: await Camera.from(video),
    canvas,
    denoising: { t_indices: [45], guidance: "none" },
  });
  await restyling.change({ prompt: "starry night", over_frames: 5 });
  for await (const event of restyling) {
    if (event.type === "restyled" && event.picture) URL.createObjectURL(new Blob([event.picture]));
  }
  // @ts-expect-error: a prompt is needed
  await restyle({ fit: "contain" });
  // @ts-expect-error: there is no such option
  await restyle("pencil", { strength: 0.5 });
}

export async function said(text: string): Promise<number> {
  const speech = await speak(text, { voice: "nova", speed: 1.2 });
  let samples = 0;
  for await (const { pcm } of speech) samples += pcm.length;
  await speech.finished;
  return samples;
}

export async function keyFor(): Promise<{ key: string; until: Date }> {
  const { value, expiresAt } = await createClientSecret({ apiKey: "key", expiresAfterS: 60 });
  return { key: value, until: expiresAt };
}

export function explained(error: unknown): string {
  if (error instanceof DeviceError && error.code === "permission_denied") return "Please allow it.";
  if (error instanceof ServerError && error.param) return `${error.param}: ${error.message}`;
  return String(error);
}
