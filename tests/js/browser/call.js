/** A call without a microphone: options that are refused, writing, and a path that `block`s. */
async () => {
  const { converse } = await import("/sdk/millstream.js");
  const refused = [];
  const note = ({ name, code, param }) => refused.push([name, code, param]);
  await converse({ transport: "webrtc", voice: "nobody" }).catch(note);
  const conversation = await converse({ transport: "webrtc", replies: "text" });
  await conversation.update({ audio: { output: { voice: "nobody" } } }).catch(note);
  await conversation.send(new Int16Array(10)).catch(({ name }) => refused.push([name]));
  await conversation.update({ max_output_tokens: 24 });
  const events = [];
  const answered = async (text) => {
    await conversation.sendText(text);
    for await (const event of conversation) {
      events.push(event);
      if (event.type === "replyDone") return;
    }
  };
  await answered("Say hello.");
  await block();
  for await (const event of conversation) {
    events.push(event);
    if (event.type === "reconnected") break;
  }
  await answered("And now goodbye.");
  conversation.close();
  const after = [];
  for await (const event of conversation) after.push(event);
  return { refused, events, after, state: conversation.state };
};
