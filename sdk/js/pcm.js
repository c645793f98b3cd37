export const RATE_HZ = 24_000;
const SAMPLE_BYTES = 2;
const PIECE_BYTES = 96_000;
const CHUNK = 0x8000;

/** The bytes of audio. Throws TypeError for what is none. */
export function pcmBytes(pcm) {
  if (!(pcm instanceof Int16Array || pcm instanceof Uint8Array)) {
    throw new TypeError("audio is an Int16Array, or a Uint8Array of whole little-endian samples");
  }
  const bytes = new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  if (bytes.length % SAMPLE_BYTES) throw new TypeError("audio ends in the middle of a sample");
  return bytes;
}

/** The protocol's events that carry audio, each with its number of samples. */
export function* appends(pcm) {
  const bytes = pcmBytes(pcm);
  for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
    const piece = bytes.subarray(start, start + PIECE_BYTES);
    yield {
      event: { type: "input_audio_buffer.append", audio: toBase64(piece) },
      samples: piece.length / SAMPLE_BYTES,
    };
  }
}

export function toBase64(bytes) {
  if (bytes.toBase64) return bytes.toBase64();
  let binary = "";
  for (let start = 0; start < bytes.length; start += CHUNK) {
    binary += String.fromCharCode(...bytes.subarray(start, start + CHUNK));
  }
  return btoa(binary);
}

/** 16 bit samples from base64. */
export function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return new Int16Array(bytes.buffer);
}

/** Root mean square, 0 to 1. */
export function loudness(pcm) {
  let energy = 0;
  for (const sample of pcm) energy += sample * sample;
  return Math.sqrt(energy / Math.max(1, pcm.length)) / 32_768;
}
