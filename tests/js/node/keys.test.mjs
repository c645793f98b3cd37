import assert from "node:assert/strict";
import { test } from "node:test";

import { converse, createClientSecret, restyle, speak } from "../../../sdk/js/millstream.js";
import { server } from "./speech.mjs";

const { url } = server;

test("the right key, and an ephemeral one made with it", async () => {
  const { value } = await createClientSecret({ url, apiKey: "right-key" });
  for (const apiKey of ["right-key", value]) (await converse({ ...server, apiKey })).close();
});

for (const apiKey of [undefined, "wrong-key", "ek_wrong"]) {
  test(`the key ${apiKey} is refused, and the client is told why`, async () => {
    const refused = { name: "ServerError", code: "invalid_api_key" };
    await assert.rejects(converse({ ...server, apiKey }), refused);
    await assert.rejects(restyle("pencil", { ...server, apiKey }), refused);
    await assert.rejects(speak("Hello.", { url, apiKey }), refused);
    await assert.rejects(createClientSecret({ url, apiKey }), refused);
  });
}
