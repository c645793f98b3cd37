import { given } from "./options.js";

/** The protocol's names of look-aheads in milliseconds. */
const DELAYS = { 0: "minimal", 80: "low", 480: "medium", 1040: "high" };
export const HEARING_OPTIONS = ["language", "lookaheadMs", "phrases"];

/** How speech is to be heard: `session.audio.input.transcription` of the protocol. Throws TypeError. */
export function hearing({ language, lookaheadMs, phrases }) {
  return given({
    language,
    keywords: phrases?.length ? phrases : undefined,
    delay: lookaheadMs === undefined ? undefined : delay(lookaheadMs),
  });
}

function delay(lookaheadMs) {
  if (!(lookaheadMs in DELAYS)) {
    throw new TypeError(
      `lookaheadMs must be one of ${Object.keys(DELAYS).join(", ")}; got ${JSON.stringify(lookaheadMs)}`,
    );
  }
  return DELAYS[lookaheadMs];
}
