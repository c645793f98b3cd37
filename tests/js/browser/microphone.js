/** A microphone that is heard, muted and closed, and what is left of it. The recording itself is silent for 1.5 s. */
async (transport) => {
  const { Microphone, Speaker, transcribe } = await import("/sdk/millstream.js");
  const contexts = [];
  globalThis.AudioContext = class extends AudioContext {
    constructor(options) {
      super(options);
      contexts.push(this);
    }
  };
  const microphone = await Microphone.open();
  const speaker = await Speaker.open();
  const transcription = await transcribe({ transport, microphone, language: "en" });
  let loudest = 0;
  let text = "";
  const meter = setInterval(() => (loudest = Math.max(loudest, microphone.level)), 20);
  for await (const event of transcription) {
    if (event.type === "final") text += event.text;
    if (event.type === "speechStopped") microphone.muted = true;
    if (event.type === "final" && event.text) transcription.close();
  }
  clearInterval(meter);
  const pieces = microphone[Symbol.asyncIterator]();
  const sizes = new Set();
  let silentS = 0;
  for (let heardS = 0; silentS < 2 && heardS < 6; heardS += 0.04) {
    const { value: piece } = await pieces.next();
    sizes.add(piece.length);
    silentS = piece.some((sample) => sample !== 0) ? 0 : silentS + 0.04;
  }
  const next = pieces.next();
  const last = pieces.next();
  await next;
  await Promise.all([microphone.close(), speaker.close()]);
  await microphone.ended;
  return {
    text,
    loudest,
    sizes: [...sizes],
    silentS,
    ends: [(await last).done, (await pieces.next()).done, (await microphone[Symbol.asyncIterator]().next()).done],
    contexts: contexts.map((context) => [context.sampleRate, context.state]),
    tracks: microphone.stream.getTracks().map((track) => track.readyState),
  };
};
