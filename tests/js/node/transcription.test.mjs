import assert from "node:assert/strict";
import { test } from "node:test";

import { transcribe } from "../../../sdk/js/millstream.js";
import { Heard, REFERENCE, clip, errorRate, say, server } from "./speech.mjs";

test("a turn", async () => {
  const transcription = await transcribe({ ...server, language: "en", phrases: ["Dashwood"] });
  const heard = new Heard(transcription);
  await say(transcription, clip("sense_0870", 1), 2);
  await transcription.finish();
  await heard.over;

  const [started] = heard.all("speechStarted");
  const [stopped] = heard.all("speechStopped");
  const [final] = heard.all("final").filter(({ text }) => text);
  assert.ok(started.atMs < 500 && stopped.atMs > 500 && stopped.atMs < 8_100);
  assert.ok(errorRate(final.text, REFERENCE.sense_0870) <= 0.1, final.text);
  assert.equal(final.seconds, (stopped.atMs - started.atMs) / 1000);
  const partials = heard.all("partial");
  assert.ok(partials.length >= 2);
  assert.equal(partials.at(-1).text, partials.map(({ delta }) => delta).join(""));
  for (const event of [started, stopped, ...partials]) assert.equal(event.item, final.item);
  assert.equal(transcription.state, "closed");
});

test("bytes, from a constructor that the platform has", async (context) => {
  if (!globalThis.WebSocket) return context.skip("this Node has no WebSocket");
  const transcription = await transcribe({
    url: server.url,
    turnDetection: { type: "semantic_vad", eagerness: "high" },
  });
  const pcm = clip("sense_0890");
  await transcription.send(new Uint8Array(pcm.buffer));
  await transcription.finish();
  const heard = new Heard(transcription);
  await heard.over;
  assert.ok(errorRate(heard.all("final")[0].text, REFERENCE.sense_0890) <= 0.15);
});

test("nothing said", async () => {
  const transcription = await transcribe(server);
  await transcription.finish();
  const heard = new Heard(transcription);
  await heard.over;
  assert.deepEqual(heard.events, []);
});

for (const [options, name, param] of [
  [{ language: "klingon" }, "ServerError", /transcription\.language/],
  [{ turnDetection: { type: "semantic_vad", eagerness: "huge" } }, "ServerError", /turn_detection/],
  [{ lookaheadMs: 5 }, "TypeError", /lookaheadMs must be one of 0, 80, 480, 1040; got 5/],
  [{ lookahead: 5 }, "TypeError", /no option lookahead/],
  [{ url: "127.0.0.1:8000" }, "TypeError", /http:\/\//],
  [{ transport: "webrtc" }, "TypeError", /microphone is needed/],
  [{ transport: "pigeons" }, "TypeError", /transport must be websocket or webrtc, got "pigeons"/],
  [{ apiKey: "two words" }, "TypeError", /apiKey/],
  [{ url: "http://127.0.0.1:9" }, "ServerError", /cannot reach/],
]) {
  test(`a bad option is refused: ${JSON.stringify(options)}`, async () => {
    await assert.rejects(transcribe({ ...server, ...options }), (error) => {
      assert.equal(error.name, name);
      assert.match(`${error.param} ${error.message}`, param);
      return true;
    });
  });
}

test("what is no audio is refused", async () => {
  const transcription = await transcribe(server);
  await assert.rejects(transcription.send([1, 2]), /Int16Array/);
  await assert.rejects(transcription.send(new Uint8Array(3)), /middle of a sample/);
  await assert.rejects(transcription.update({ transcription: { language: "klingon" } }), { param: /language/ });
  transcription.close();
  await assert.rejects(transcription.send(new Int16Array(10)), { code: "session_closed" });
});

test("an abort closes the session", async () => {
  const aborting = new AbortController();
  const transcription = await transcribe({ ...server, signal: aborting.signal });
  aborting.abort();
  for await (const event of transcription) assert.fail(event.type);
  assert.equal(transcription.state, "closed");
});
