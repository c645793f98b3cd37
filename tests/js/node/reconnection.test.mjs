import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { converse, transcribe } from "../../../sdk/js/millstream.js";
import { proxied } from "./proxy.mjs";
import { Heard, REFERENCE, clip, errorRate, say, server } from "./speech.mjs";

const SHORT = { max_output_tokens: 24 };
let proxy;

beforeEach(async () => (proxy = await proxied(server.url)));
afterEach(() => proxy.close());

test("what is said around a cut is transcribed once", async () => {
  const transcription = await transcribe({ ...server, url: proxy.url, language: "en" });
  const heard = new Heard(transcription);
  const [first, second] = [clip("sense_0890", 1), clip("sense_0870", 1)];
  await say(transcription, first);
  await heard.wait("final");
  await say(transcription, second.subarray(0, second.length / 2));
  await heard.wait("speechStarted", 2);
  proxy.cut();
  await say(transcription, second.subarray(second.length / 2));
  await transcription.finish();
  await heard.over;

  const finals = heard.all("final").filter(({ text }) => text);
  assert.equal(finals.length, 2);
  assert.ok(errorRate(finals[0].text, REFERENCE.sense_0890) <= 0.15, finals[0].text);
  assert.ok(errorRate(finals[1].text, REFERENCE.sense_0870) <= 0.15, finals[1].text);
  assert.equal(heard.all("reconnected")[0].lostS, 0);
  const begun = heard.all("speechStarted");
  const ended = [...heard.all("final"), ...heard.all("transcriptFailed")].map(({ item }) => item);
  for (const { item } of begun) assert.ok(ended.includes(item));
  assert.equal(new Set(ended).size, ended.length);
  assert.ok(Math.abs(begun.at(-1).atMs - first.length / 24) < 500);
});

test("a cut while the end is awaited", async () => {
  const transcription = await transcribe({ ...server, url: proxy.url, language: "en" });
  await transcription.send(clip("sense_0890"));
  await transcription.finish();
  proxy.cut();
  const heard = new Heard(transcription);
  await heard.over;
  const [final] = heard.all("final").filter(({ text }) => text);
  assert.ok(errorRate(final.text, REFERENCE.sense_0890) <= 0.15);
});

test("a conversation is told anew: the next question costs the history's tokens too", async () => {
  const inputs = [];
  for (const cut of [false, true]) {
    const conversation = await converse({ ...server, url: proxy.url, replies: "text" });
    const heard = new Heard(conversation);
    await conversation.update(SHORT);
    if (cut) {
      await conversation.sendText("My favourite colour is the blue of the sea in the evening.");
      await heard.wait("replyDone");
      proxy.cut();
      await heard.wait("reconnected");
    }
    await conversation.sendText("And why?");
    const done = await heard.wait("replyDone", cut ? 2 : 1);
    assert.ok(["completed", "incomplete"].includes(done.status));
    assert.ok(done.usage.output <= SHORT.max_output_tokens);
    inputs.push(done.usage.input);
    conversation.close();
  }
  assert.ok(inputs[1] > inputs[0] + 20, inputs.join());
});

test("a reply in progress is told to be lost, and one that has not begun is made", async () => {
  const conversation = await converse({ ...server, url: proxy.url, replies: "text" });
  const heard = new Heard(conversation);
  await conversation.sendText("Tell me a very long story about a fox in the forest, in many sentences.");
  await heard.wait("replyText");
  proxy.cut();
  const lost = await heard.wait("replyDone");
  await heard.wait("reconnected");
  assert.deepEqual([lost.status, lost.problem], ["failed", "connection_lost"]);
  await conversation.update(SHORT);
  await conversation.sendText("Who are you?");
  proxy.cut();
  await heard.wait("reconnected", 2);
  const done = await heard.wait("replyDone", 1, ({ status }) => status !== "failed");
  assert.ok(["completed", "incomplete"].includes(done.status));
  conversation.close();
});

test("a network that takes nothing any more", async ({ mock }) => {
  const transcription = await transcribe({ ...server, url: proxy.url });
  const heard = new Heard(transcription);
  proxy.stall();
  const sending = assert.rejects(transcription.send(new Int16Array(10_000_000)), { code: "session_closed" });
  mock.timers.enable({ apis: ["setTimeout"] });
  let over = false;
  const ticking = (async () => {
    for (; !over; mock.timers.tick(1_000)) await new Promise(setImmediate);
  })();
  const { reason } = await heard.wait("reconnecting");
  transcription.close();
  await sending;
  over = true;
  await ticking;
  assert.match(reason, /taken nothing for 30 s/);
});

for (const attempts of [0, 2]) {
  test(`a server that stays away, with ${attempts} attempts`, async () => {
    const transcription = await transcribe({ ...server, url: proxy.url, reconnectAttempts: attempts });
    const heard = new Heard(transcription);
    const accepted = proxy.accepted;
    proxy.refusing = true;
    proxy.cut();
    await assert.rejects(heard.over, { name: "ServerError" });
    await assert.rejects(transcription.send(new Int16Array(2_400)), { code: "session_closed" });
    assert.deepEqual(
      heard.all("reconnecting").map(({ attempt }) => attempt),
      Array.from({ length: attempts }, (_, index) => index + 1),
    );
    assert.equal(proxy.accepted > accepted, attempts > 0);
  });
}
