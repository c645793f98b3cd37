/** Draws JPEGs on a canvas, the latest if they come faster than they are decoded. */
export class Picture {
  #canvas;
  #context;
  #latest = null;
  #drawing = false;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
  }

  draw(jpeg) {
    this.#latest = jpeg;
    if (!this.#drawing) void this.#drawLatest();
  }

  async #drawLatest() {
    this.#drawing = true;
    while (this.#latest) {
      const blob = new Blob([this.#latest], { type: "image/jpeg" });
      this.#latest = null;
      const bitmap = await createImageBitmap(blob);
      const { width, height } = bitmap;
      if (this.#canvas.width !== width || this.#canvas.height !== height)
        Object.assign(this.#canvas, { width, height });
      this.#context.drawImage(bitmap, 0, 0);
      bitmap.close();
    }
    this.#drawing = false;
  }
}
