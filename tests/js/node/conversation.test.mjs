import assert from "node:assert/strict";
import { test } from "node:test";

import { converse } from "../../../sdk/js/millstream.js";
import { Heard, REFERENCE, clip, errorRate, say, server } from "./speech.mjs";

const SHORT = { max_output_tokens: 24 };
const LONG = { max_output_tokens: 200 };
const STORIES = "You are a story teller. Tell a very long story about a fox in the forest, in many sentences.";

async function talking(options, fields) {
  const conversation = await converse({ ...server, ...options });
  await conversation.update(fields);
  return { conversation, heard: new Heard(conversation) };
}

test("a spoken turn is answered", async () => {
  const { conversation, heard } = await talking({ voice: "nova", language: "en" }, SHORT);
  await say(conversation, clip("sense_0930", 1));
  const done = await heard.wait("replyDone");
  conversation.close();
  await heard.over;

  const [final] = heard.all("final");
  assert.ok(errorRate(final.text, REFERENCE.sense_0930) <= 0.1, final.text);
  assert.equal(heard.all("replyStarted")[0].response, done.response);
  assert.ok(["completed", "incomplete"].includes(done.status));
  assert.ok(done.usage.input > 0 && done.usage.output > 0);
  assert.ok(heard.all("replyText").at(-1).text.length > 0);
  const samples = heard.all("replyAudio").reduce((sum, { pcm }) => sum + pcm.length, 0);
  assert.ok(samples > 0.3 * 24_000);
  assert.deepEqual(heard.all("refused"), []);
});

test("speech interrupts a reply, which is truncated", async () => {
  const { conversation, heard } = await talking({ instructions: STORIES }, LONG);
  await conversation.sendText("Begin.");
  const { item } = await heard.wait("replyAudio");
  await say(conversation, clip("sense_0890"));
  await heard.wait("speechStarted");
  const done = await heard.wait("replyDone");
  await conversation.truncate(item, 0.1);
  const truncated = await heard.wait("truncated");
  conversation.close();

  assert.deepEqual([done.status, done.problem], ["cancelled", "turn_detected"]);
  assert.deepEqual([truncated.item, truncated.playedMs], [item, 100]);
});

test("turns that end by hand, and a reply that is cancelled", async () => {
  const { conversation, heard } = await talking({ turnDetection: null, instructions: STORIES }, LONG);
  await say(conversation, clip("sense_0930"));
  await conversation.commit();
  await heard.wait("replyText");
  await conversation.cancel();
  const done = await heard.wait("replyDone");
  conversation.close();

  assert.deepEqual(heard.all("speechStarted"), []);
  assert.deepEqual([done.status, done.problem], ["cancelled", "client_cancelled"]);
  assert.deepEqual(heard.all("refused"), []);
});

test("tools are run, and the reply goes on with what they give", async () => {
  const asked = [];
  const parameters = { type: "object", properties: { city: { enum: ["Oslo", "Rome"] } }, required: ["city"] };
  const run = async ({ city }) => {
    asked.push(city);
    await conversation.update({ tool_choice: "none" });
    return { sky: "clear", city };
  };
  const { conversation, heard } = await talking(
    { replies: "text", tools: [{ name: "weather", description: "The weather now.", parameters, run }] },
    { max_output_tokens: 100, tool_choice: "required" },
  );
  await conversation.sendText("What is the weather in Rome?");
  const call = await heard.wait("toolCall");
  const result = await heard.wait("toolResult");
  const { status } = await heard.wait("replyDone", 2);
  conversation.close();

  assert.deepEqual(asked, [call.arguments.city]);
  assert.deepEqual(result, {
    type: "toolResult",
    callId: call.callId,
    name: "weather",
    output: result.output,
    failed: false,
  });
  assert.deepEqual(JSON.parse(result.output), { sky: "clear", city: asked[0] });
  assert.ok(["completed", "incomplete"].includes(status));
  assert.ok(heard.all("replyText").length > 0);
});

for (const [options, param] of [
  [{ voice: "nobody" }, /^session\.audio\.output\.voice/],
  [{ speed: 9 }, /^session\.audio\.output\.speed/],
  [{ phrases: ["x".repeat(101)] }, /^session\.audio\.input\.transcription\.keywords/],
  [{ turnDetection: { type: "magic" } }, /^session\.audio\.input\.turn_detection/],
]) {
  test(`a bad option is refused: ${JSON.stringify(options)}`, async () => {
    await assert.rejects(converse({ ...server, ...options }), { name: "ServerError", code: "invalid_value", param });
  });
}

test("a change is in force once it is made, or refused", async () => {
  const { conversation } = await talking({}, SHORT);
  const bad = conversation.update({ audio: { output: { voice: "nobody" } } });
  const good = conversation.update({ instructions: "Be brief." });
  await assert.rejects(bad, { name: "ServerError", param: /voice/ });
  await good;
  conversation.close();
});
