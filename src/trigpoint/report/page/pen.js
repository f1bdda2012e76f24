/** A canvas as fine as the screen, drawn anew at most once for each of the screen's pictures. */

/**
 * Calls `paint` with the next picture of the screen, once, however often it is called before.
 *
 * @param {() => void} paint
 * @returns {() => void}
 */
export function onceAPicture(paint) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      paint();
    });
  };
}

/**
 * The pen of an empty canvas of so many CSS pixels, in which it also measures.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {number} wide
 * @param {number} high
 */
export function cleared(canvas, wide, high) {
  const ratio = devicePixelRatio;
  const [width, height] = [Math.round(wide * ratio), Math.round(high * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return pen;
}
