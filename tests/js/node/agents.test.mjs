/** OpenAI's own SDK of agents, as it is, over a WebSocket. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";
import { z } from "zod";

import { REFERENCE, clip, errorRate, server } from "./speech.mjs";

const url = `${server.url.replace("http", "ws")}/v1/realtime?model=gpt-realtime`;
const PIECE = 2_400;

async function visiting(agent, config = {}) {
  const session = new RealtimeSession(agent, { transport: "websocket", model: "gpt-realtime", config });
  const errors = [];
  session.on("error", (error) => errors.push(error));
  await session.connect({ url, apiKey: "unused" });
  return { session, errors };
}

function next(session, kind) {
  return new Promise((resolve) => session.on(kind, (...told) => resolve(told)));
}

function fromServer(session, kind) {
  return new Promise((resolve) => session.transport.on("*", (event) => event.type === kind && resolve(event)));
}

async function say(session, pcm, speed = 10) {
  for (let start = 0; start < pcm.length; start += PIECE) {
    session.sendAudio(pcm.slice(start, start + PIECE).buffer);
    await sleep(100 / speed);
  }
}

test("a spoken turn", async () => {
  const { session, errors } = await visiting(
    new RealtimeAgent({ name: "host", instructions: "Answer in a few words." }),
  );
  const audio = next(session, "audio");
  const done = fromServer(session, "response.done");
  await say(session, clip("question", 2));
  const [{ data }] = await audio;
  const { response } = await done;
  await sleep(100);
  const [question, answer] = session.history.filter(({ type }) => type === "message");
  session.close();

  assert.ok(data.byteLength > 0);
  assert.equal(response.status, "completed");
  assert.ok(errorRate(question.content[0].transcript, REFERENCE.question) <= 0.2);
  assert.equal(answer.content[0].transcript, response.output[0].content[0].transcript);
  assert.deepEqual(errors, []);
});

test("an interruption", async () => {
  const agent = new RealtimeAgent({
    name: "storyteller",
    instructions: "Tell very long stories about animals, with every detail.",
  });
  const { session, errors } = await visiting(agent);
  const audio = next(session, "audio");
  session.sendMessage("Tell me a story about a cat, a dog and a horse.");
  await audio;
  const interrupted = next(session, "audio_interrupted");
  const truncated = fromServer(session, "conversation.item.truncated");
  await say(session, clip("stop", 1), 1);
  await interrupted;
  assert.ok((await truncated).audio_end_ms > 0);
  session.close();
  assert.deepEqual(errors, []);
});

test("a tool", async () => {
  const asked = [];
  const weather = tool({
    name: "weather",
    description: "The weather now.",
    parameters: z.object({ indoors: z.boolean() }),
    execute: async ({ indoors }) => {
      asked.push(indoors);
      session.transport.updateSessionConfig({ toolChoice: "none" });
      return "Clear and mild.";
    },
  });
  const agent = new RealtimeAgent({ name: "forecaster", instructions: "Answer in a few words.", tools: [weather] });
  const { session, errors } = await visiting(agent, { toolChoice: "required" });
  const ended = next(session, "agent_tool_end");
  const audio = next(session, "audio");
  session.sendMessage("What is the weather?");
  const [, , , result] = await ended;
  await audio;
  session.close();

  assert.equal(asked.length, 1);
  assert.equal(result, "Clear and mild.");
  assert.deepEqual(errors, []);
});
