import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { restyle } from "../../../sdk/js/millstream.js";
import { proxied } from "./proxy.mjs";
import { Heard, server } from "./speech.mjs";

const picture = readFileSync(new URL("../../../web/media/bunny.jpg", import.meta.url));

test("pictures one after the other, with other looks", async () => {
  const restyling = await restyle("starry night", server);
  const heard = new Heard(restyling);
  for (const [count, prompt] of ["starry night", "pencil"].entries()) {
    await restyling.change({ prompt });
    await restyling.send(new Blob([picture]), 3_000 * count);
    await heard.wait("restyled", count + 1);
  }
  await restyling.finish();
  await heard.over;

  const [first, second] = heard.events;
  assert.deepEqual(
    heard.events.map(({ type, pts, dropped }) => [type, pts, dropped]),
    [
      ["restyled", 0, 0],
      ["restyled", 3_000, 0],
    ],
  );
  for (const { picture: jpeg, delayMs } of [first, second]) {
    assert.deepEqual([...jpeg.subarray(0, 3)], [0xff, 0xd8, 0xff]);
    assert.ok(delayMs > 0);
  }
  assert.notDeepEqual(first.picture, second.picture);
});

test("a flood is answered for in full", async () => {
  const restyling = await restyle("pencil", server);
  const heard = new Heard(restyling);
  for (let pts = 0; pts < 30; pts++) await restyling.send(picture, pts);
  await restyling.finish();
  await heard.over;
  assert.equal(heard.events.length + restyling.dropped, 30);
  assert.ok(restyling.dropped > 0);
});

test("what is no picture, and bad options", async () => {
  const restyling = await restyle("pencil", { ...server, fit: "contain" });
  const heard = new Heard(restyling);
  await restyling.send(new Uint8Array(100), 1);
  assert.equal((await heard.wait("unreadable")).pts, 1);
  await restyling.send(picture, 0);
  assert.equal((await heard.wait("refused")).param, "pts");
  restyling.close();
  await assert.rejects(restyle("pencil", { ...server, denoising: { t_indices: [77] } }), {
    name: "ServerError",
    param: /restyle/,
  });
  await assert.rejects(restyle("pencil", { ...server, strength: 1 }), /no option strength/);
});

test("restyling goes on over another connection", async () => {
  const proxy = await proxied(server.url);
  const restyling = await restyle("pencil", { ...server, url: proxy.url });
  const heard = new Heard(restyling);
  await restyling.send(picture, 1);
  await heard.wait("restyled");
  await restyling.send(picture, 2);
  proxy.cut();
  assert.equal((await heard.wait("reconnected")).lostPictures, 1);
  await restyling.send(picture, 3);
  await restyling.finish();
  await heard.over;
  proxy.close();
  assert.deepEqual(
    heard.all("restyled").map(({ pts }) => pts),
    [1, 3],
  );
  assert.equal(restyling.dropped, 1);
});
