/** A question is answered, and the answer is interrupted while it plays. */
async ({ transport, question, stop, options }) => {
  const { Microphone, Speaker, converse } = await import("/sdk/millstream.js");
  const context = new AudioContext();
  const line = context.createMediaStreamDestination();
  const decoded = async (base64) =>
    context.decodeAudioData(Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0)).buffer);
  const say = async (clip) => {
    const player = new AudioBufferSourceNode(context, { buffer: await decoded(clip) });
    player.connect(line);
    player.start();
  };
  const microphone = await Microphone.from(line.stream);
  const speaker = await Speaker.open();
  const conversation = await converse({ ...options, transport, microphone, speaker });
  await say(question);
  const events = [];
  let loudest = 0;
  for await (const event of conversation) {
    events.push(event);
    if (event.type === "playbackStarted") {
      for (let tick = 0; tick < 10; tick++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        loudest = Math.max(loudest, speaker.level);
      }
      await say(stop);
    }
    if (event.type === "truncated" || event.cut === false) break;
  }
  const { playing, queuedS } = speaker;
  conversation.close();
  await Promise.all([microphone.close(), speaker.close(), context.close()]);
  const told = events.map((event) => (event.type === "replyAudio" ? { type: event.type } : event));
  return {
    events: told,
    loudest,
    playing,
    queuedS,
    remote: conversation.stream?.getTracks().map(({ kind }) => kind) ?? null,
  };
};
