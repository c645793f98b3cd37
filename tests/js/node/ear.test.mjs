/** What is kept for another connection, without a server. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Ear } from "../../../sdk/js/ear.js";

const SECOND = 24_000;

function listening(settings = {}) {
  const ear = new Ear(
    async (_, sent) => sent(),
    () => settings,
  );
  const hear = (seconds) => ear.hear(new Int16Array(seconds * SECOND));
  const told = (kind, fields) => ear.heard({ type: `input_audio_buffer.${kind}`, ...fields });
  const final = (item_id) =>
    ear.heard({
      type: "conversation.item.input_audio_transcription.completed",
      item_id,
      transcript: "",
      usage: { seconds: 1 },
    });
  const kept = () => {
    const { lostS, events } = ear.replay();
    const samples = events
      .map(({ audio }) => (audio ? atob(audio).length / 2 : 0))
      .reduce((sum, each) => sum + each, 0);
    return { keptS: samples / SECOND, lostS, marks: events.flatMap(({ type, audio }) => (audio ? [] : type)) };
  };
  return { ear, hear, told, final, kept };
}

for (const [finals, keptS] of [
  [[], 9],
  [["a"], 6],
  [["a", "b"], 2],
]) {
  test(`what has its transcript is not kept: ${finals.join() || "nothing"}`, async () => {
    const { hear, told, final, kept } = listening();
    for (let second = 0; second < 10; second++) await hear(1);
    told("speech_started", { item_id: "a", audio_start_ms: 1_000 });
    told("speech_stopped", { item_id: "a", audio_end_ms: 4_000 });
    told("speech_started", { item_id: "b", audio_start_ms: 6_000 });
    told("speech_stopped", { item_id: "b", audio_end_ms: 8_000 });
    for (const item of finals) final(item);
    assert.deepEqual(kept(), { keptS, lostS: 0, marks: [] });
  });
}

test("media time goes on over another connection", async () => {
  const { ear, hear, told, final, kept } = listening();
  for (let second = 0; second < 10; second++) await hear(1);
  told("speech_started", { item_id: "a", audio_start_ms: 1_000 });
  told("speech_stopped", { item_id: "a", audio_end_ms: 4_000 });
  final("a");
  told("speech_started", { item_id: "b", audio_start_ms: 6_000 });
  assert.deepEqual(
    ear.drop().map(({ type, item, code }) => [type, item, code]),
    [["transcriptFailed", "b", "connection_lost"]],
  );
  assert.equal(kept().keptS, 4);
  assert.equal(told("speech_started", { item_id: "c", audio_start_ms: 500 }).atMs, 6_500);
});

test("more than a minute without a transcript is lost, and told to be", async () => {
  const { hear, told, kept } = listening();
  await hear(1);
  told("speech_started", { item_id: "a", audio_start_ms: 0 });
  for (let second = 0; second < 70; second++) await hear(1);
  assert.deepEqual(kept(), { keptS: 60, lostS: 11, marks: [] });
});

test("turns that end by hand are kept with their ends", async () => {
  const { ear, hear, told, final, kept } = listening({ turn_detection: null });
  for (const item_id of ["a", "b"]) {
    await hear(1);
    await ear.mark({ type: "input_audio_buffer.commit" }, { type: "response.create" });
    told("committed", { item_id });
  }
  assert.deepEqual(kept().marks, [
    "input_audio_buffer.commit",
    "response.create",
    "input_audio_buffer.commit",
    "response.create",
  ]);
  final("a");
  assert.deepEqual(kept(), { keptS: 1, lostS: 0, marks: ["input_audio_buffer.commit", "response.create"] });
});

test("without transcription an item is over when it is made", async () => {
  const { ear, hear, told } = listening({ transcription: null });
  await hear(1);
  told("committed", { item_id: "a" });
  assert.equal(ear.waiting, false);
});

test("ten seconds of silence are kept", async (context) => {
  const { hear, kept } = listening();
  const now = performance.now();
  context.mock.method(performance, "now", () => now + 25_000);
  for (let second = 0; second < 25; second++) await hear(1);
  assert.equal(kept().keptS, 10);
});
