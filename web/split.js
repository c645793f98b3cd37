/** The divider between two pictures: by pointer, or by arrow keys. */

const STEP = 2;
const LEAP = 10;
/** @type {Record<string, (at: number) => number>} */
const KEYS = {
  ArrowLeft: (at) => at - STEP,
  ArrowDown: (at) => at - STEP,
  ArrowRight: (at) => at + STEP,
  ArrowUp: (at) => at + STEP,
  PageDown: (at) => at - LEAP,
  PageUp: (at) => at + LEAP,
  Home: () => 0,
  End: () => 100,
};

/**
 * Let `divider` be moved across `frame`, whose property `--at` tells where it is.
 * @param {HTMLElement} frame
 * @param {HTMLElement} divider
 */
export function splitBy(frame, divider) {
  let at = Number(divider.getAttribute("aria-valuenow"));
  const move = (/** @type {number} */ to) => {
    at = Math.min(100, Math.max(0, to));
    frame.style.setProperty("--at", `${at}%`);
    divider.setAttribute("aria-valuenow", String(Math.round(at)));
  };
  const follow = (/** @type {PointerEvent} */ event) => {
    const { left, width } = frame.getBoundingClientRect();
    move(((event.clientX - left) / width) * 100);
  };
  frame.addEventListener("pointerdown", (event) => {
    if (event.target instanceof Element && event.target.closest("button")) return;
    frame.setPointerCapture(event.pointerId);
    follow(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (frame.hasPointerCapture(event.pointerId)) follow(event);
  });
  divider.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    move(KEYS[event.key](at));
  });
}
