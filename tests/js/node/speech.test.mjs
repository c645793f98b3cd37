import assert from "node:assert/strict";
import { test } from "node:test";

import { createClientSecret, speak, transcribe } from "../../../sdk/js/millstream.js";
import { Heard, errorRate, server } from "./speech.mjs";

const { url } = server;
const TEXT = "The quick brown fox jumps over the lazy dog.";

test("what is said is what was written", async () => {
  const transcription = await transcribe({ ...server, language: "en" });
  const heard = new Heard(transcription);
  let samples = 0;
  const speech = await speak(TEXT, { url, voice: "nova", speed: 1.1 });
  for await (const { type, pcm } of speech) {
    assert.equal(type, "audio");
    samples += pcm.length;
    await transcription.send(pcm);
  }
  await speech.finished;
  await transcription.finish();
  await heard.over;
  assert.ok(samples > 24_000);
  assert.ok(
    errorRate(
      heard
        .all("final")
        .map(({ text }) => text)
        .join(" "),
      TEXT,
    ) <= 0.15,
  );
});

test("speech that is closed ends", async () => {
  const speech = await speak(`${TEXT} `.repeat(40), { url });
  let pieces = 0;
  for await (const _ of speech) if (++pieces === 1) speech.close();
  await speech.finished;
  assert.ok(pieces < 10);
});

test("bad options are refused", async () => {
  await assert.rejects(speak("", { url }), { name: "ServerError", param: "input" });
  await assert.rejects(speak(TEXT, { url, voice: "nobody" }), { name: "ServerError", param: "voice" });
  await assert.rejects(speak(TEXT, { url, volume: 1 }), { name: "TypeError", message: /no option volume/ });
  await assert.rejects(speak(TEXT, { url: "http://127.0.0.1:9" }), { code: "unreachable" });
});

test("an ephemeral key opens sessions", async () => {
  const { value, expiresAt } = await createClientSecret({ url, expiresAfterS: 60, session: { type: "transcription" } });
  assert.match(value, /^ek_/);
  assert.ok(expiresAt > new Date());
  const transcription = await transcribe({ ...server, apiKey: value });
  transcription.close();
});
