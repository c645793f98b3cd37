/** A film is restyled, by one transport after the other. */
async () => {
  const { Camera, restyle } = await import("/sdk/millstream.js");
  const film = Object.assign(document.createElement("video"), { src: "/media/bunny.webm", muted: true, loop: true });
  await film.play();
  const results = {};
  for (const transport of ["websocket", "webrtc"]) {
    const camera = await Camera.from(film);
    const canvas = document.createElement("canvas");
    const restyling = await restyle("starry night by van gogh", { camera, canvas, transport });
    const events = [];
    for await (const { picture, ...event } of restyling) {
      events.push({ ...event, bytes: picture?.length ?? null });
      if (events.length === 2) await restyling.change({ prompt: "pencil drawing" });
      if (events.length === 5) restyling.close();
    }
    const track = restyling.stream?.getVideoTracks()[0];
    results[transport] = {
      events,
      canvas: [canvas.width, canvas.height],
      dropped: restyling.dropped,
      track: track?.readyState ?? null,
    };
    camera.close();
    results[transport].done = (await camera[Symbol.asyncIterator]().next()).done;
  }
  return results;
};
