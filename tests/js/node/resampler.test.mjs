import assert from "node:assert/strict";
import { test } from "node:test";

import { Resampler } from "../../../sdk/js/resampler.js";

const BLOCK = 128;

/** Power of a tone after resampling, in dB of what it was. */
function power(hz, fromHz, toHz) {
  const resampler = new Resampler(fromHz, toHz);
  const samples = [];
  for (let start = 0; start < fromHz; start += BLOCK) {
    const tone = Float32Array.from({ length: BLOCK }, (_, index) =>
      Math.sin((2 * Math.PI * hz * (start + index)) / fromHz),
    );
    samples.push(...resampler.process(tone));
  }
  assert.ok(Math.abs(samples.length - toHz) < BLOCK * Math.max(1, toHz / fromHz), `${samples.length}`);
  const settled = samples.slice(toHz / 10, -BLOCK);
  return 10 * Math.log10((2 * settled.reduce((sum, sample) => sum + sample * sample, 0)) / settled.length);
}

for (const rate of [44_100, 48_000, 96_000]) {
  test(`from ${rate} Hz what can be told at 24 kHz stays, and the rest goes`, () => {
    for (const hz of [100, 1_000, 8_000]) assert.ok(Math.abs(power(hz, rate, 24_000)) < 0.1, `${hz} Hz`);
    for (const hz of [13_000, 16_000, 20_000]) assert.ok(power(hz, rate, 24_000) < -70, `${hz} Hz`);
  });

  test(`to ${rate} Hz all stays`, () => {
    for (const hz of [100, 1_000, 8_000]) assert.ok(Math.abs(power(hz, 24_000, rate)) < 0.1, `${hz} Hz`);
  });
}
