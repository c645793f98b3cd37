/** Drawing pictures so that input and output lie exactly over each other. */

/** @typedef {ImageBitmap | HTMLVideoElement | HTMLImageElement} Picture */

/** @param {Picture} picture @returns {[number, number]} Width and height in pixels. */
function sizeOf(picture) {
  if (picture instanceof HTMLVideoElement) return [picture.videoWidth, picture.videoHeight];
  if (picture instanceof HTMLImageElement) return [picture.naturalWidth, picture.naturalHeight];
  return [picture.width, picture.height];
}

/**
 * Fill the canvas with the middle of a picture, as the server's `fit: "cover"` does.
 * @param {HTMLCanvasElement} canvas
 * @param {Picture} picture
 */
export function cover(canvas, picture) {
  const [width, height] = sizeOf(picture);
  if (!width || !height) return;
  const scale = Math.max(canvas.width / width, canvas.height / height);
  const [across, down] = [canvas.width / scale, canvas.height / scale];
  canvas.getContext("2d")?.drawImage(
    picture, (width - across) / 2, (height - down) / 2, across, down, 0, 0, canvas.width, canvas.height,
  );
}

/**
 * Give a canvas the size of a picture and draw it.
 * @param {HTMLCanvasElement} canvas
 * @param {Picture} picture
 */
export function fill(canvas, picture) {
  const [width, height] = sizeOf(picture);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d")?.drawImage(picture, 0, 0);
}

/** @param {string} url @returns {Promise<HTMLImageElement>} */
export async function still(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}
