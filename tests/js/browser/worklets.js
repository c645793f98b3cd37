/** Both worklets in offline contexts, where each sample can be checked. */
async () => {
  const RATE_HZ = 24_000;

  async function captured(sampleRate) {
    const context = new OfflineAudioContext(1, sampleRate, sampleRate);
    await context.audioWorklet.addModule("/sdk/capture-worklet.js");
    const node = new AudioWorkletNode(context, "millstream-capture", { numberOfOutputs: 1 });
    const pieces = [];
    node.port.onmessage = ({ data }) => pieces.push(data);
    const tone = new OscillatorNode(context, { frequency: 1_000 });
    tone
      .connect(new GainNode(context, { gain: 0.5 }))
      .connect(node)
      .connect(context.destination);
    tone.start();
    await context.startRendering();
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { sizes: pieces.map((piece) => piece.length), samples: pieces.flatMap((piece) => [...piece]) };
  }

  async function played(pieces, stopAtS = null) {
    const context = new OfflineAudioContext(1, RATE_HZ, RATE_HZ);
    await context.audioWorklet.addModule("/sdk/playback-worklet.js");
    const node = new AudioWorkletNode(context, "millstream-playback", { numberOfInputs: 0, outputChannelCount: [1] });
    const reports = [];
    node.port.onmessage = ({ data }) => reports.push(data);
    node.connect(context.destination);
    const at = (seconds, act) =>
      context.suspend(seconds).then(async () => {
        act();
        await new Promise((resolve) => setTimeout(resolve, 100));
        await context.resume();
      });
    at(0, () => pieces.forEach((piece) => node.port.postMessage(Float32Array.from(piece))));
    if (stopAtS) at(stopAtS, () => node.port.postMessage(1));
    const rendered = await context.startRendering();
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { samples: [...rendered.getChannelData(0)], reports };
  }

  const ramp = Array.from({ length: 10_000 }, (_, index) => (index + 1) / 16_384);
  const pieces = [ramp.slice(0, 7), ramp.slice(7, 3_000), ramp.slice(3_000, 3_001), ramp.slice(3_001)];
  return {
    same: await captured(RATE_HZ),
    down: await captured(48_000),
    odd: await captured(44_100),
    whole: await played(pieces),
    cut: await played(pieces, 0.256),
  };
};
