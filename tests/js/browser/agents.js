/** OpenAI's own SDK of agents, as it is, over WebRTC: a question, its spoken answer, and an interruption. */
async ({ question, stop }) => {
  const { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } = await import("/agents/openai-realtime-agents.mjs");
  const secret = await fetch("/v1/realtime/client_secrets", { method: "POST", body: "{}" });
  const context = new AudioContext();
  const line = context.createMediaStreamDestination();
  const say = async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));
    const player = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(bytes.buffer) });
    player.connect(line);
    player.start();
  };
  const audioElement = new Audio();
  const transport = new OpenAIRealtimeWebRTC({
    baseUrl: `${location.origin}/v1/realtime/calls`,
    mediaStream: line.stream,
    audioElement,
  });
  const agent = new RealtimeAgent({
    name: "storyteller",
    instructions: "Tell a very long story, whatever you are asked.",
  });
  const session = new RealtimeSession(agent, {
    transport,
    model: "gpt-realtime",
    config: { turnDetection: { type: "server_vad" } },
  });
  const errors = [];
  const events = [];
  session.on("error", ({ error }) => errors.push(String(error?.message ?? JSON.stringify(error))));
  const heard = (kind) =>
    new Promise((resolve) => session.transport.on("*", (event) => event.type === kind && resolve(event)));
  session.transport.on("*", ({ type }) => events.push(type));
  await session.connect({ apiKey: (await secret.json()).value });
  const started = heard("output_audio_buffer.started");
  await say(question);
  await started;
  const meter = new AnalyserNode(context);
  context.createMediaStreamSource(audioElement.srcObject).connect(meter);
  const samples = new Float32Array(meter.fftSize);
  let loudest = 0;
  for (let tick = 0; tick < 15; tick++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    meter.getFloatTimeDomainData(samples);
    loudest = Math.max(loudest, ...samples);
  }
  const cut = [heard("conversation.item.truncated"), heard("output_audio_buffer.cleared")];
  await say(stop);
  const [truncated] = await Promise.all(cut);
  const [asked] = session.history.filter(({ role }) => role === "user");
  session.close();
  await context.close();
  return {
    asked: asked.content[0].transcript,
    loudest,
    playedMs: truncated.audio_end_ms,
    errors,
    events: [...new Set(events)],
  };
};
