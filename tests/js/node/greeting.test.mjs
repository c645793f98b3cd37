import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { WebSocket, WebSocketServer } from "ws";

import { transcribe } from "../../../sdk/js/millstream.js";

test("a server that says nothing", async ({ mock }) => {
  const silent = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(silent, "listening");
  const accepted = once(silent, "connection");
  const url = `http://127.0.0.1:${silent.address().port}`;
  mock.timers.enable({ apis: ["setTimeout"] });
  const opening = assert.rejects(transcribe({ url, WebSocket }), {
    code: "unreachable",
    message: /not agreed .* 20 s/,
  });
  const [connection] = await accepted;
  while (connection.readyState === connection.OPEN) {
    mock.timers.tick(1_000);
    await new Promise(setImmediate);
  }
  await opening;
  silent.close();
});
