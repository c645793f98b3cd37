/** Keys by both transports, from a page. */
async () => {
  const { ServerError, converse } = await import("/sdk/millstream.js");
  const opened = [];
  for (const transport of ["websocket", "webrtc"]) {
    for (const apiKey of ["right-key", "wrong-key", undefined]) {
      try {
        const conversation = await converse({ transport, apiKey, replies: "text" });
        conversation.close();
        opened.push([transport, apiKey ?? null, "opened"]);
      } catch (error) {
        opened.push([transport, apiKey ?? null, error instanceof ServerError ? error.code : String(error)]);
      }
    }
  }
  return opened;
};
