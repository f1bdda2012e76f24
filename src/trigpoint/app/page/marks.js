/** How landmarks look: a colour and a shape, to be told apart also by those who see few colours. */

import { hue } from "./colours.js";
import { get } from "./dom.js";

/** Corners, the angle of the first one in degrees, and how much larger than a circle it is drawn. @type {[number, number, number][]} */
const SHAPES = [[0, 0, 1], [4, 45, 1.2], [3, -90, 1.35], [4, 0, 1.3], [3, 90, 1.35]];

const SAME = 10; // landmarks of one shape in a row; colours alone tell no more apart for everybody

/** The corners of a mark around (0, 0); a circle has none. @param {number} index @param {number} radius @returns {[number, number][]} */
export function corners(index, radius) {
  const [count, first, larger] = SHAPES[Math.floor(Math.max(0, index) / SAME) % SHAPES.length];
  return Array.from({ length: count }, (_, i) => {
    const angle = ((first + (360 * i) / count) * Math.PI) / 180;
    return [radius * larger * Math.cos(angle), radius * larger * Math.sin(angle)];
  });
}

/**
 * Begin the path of a mark around a place.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {number} x
 * @param {number} y
 * @param {number} index of the landmark
 * @param {number} radius
 */
export function trace(pen, x, y, index, radius) {
  const places = corners(index, radius);
  pen.beginPath();
  if (!places.length) pen.arc(x, y, radius, 0, 2 * Math.PI);
  for (const [dx, dy] of places) pen.lineTo(x + dx, y + dy);
  pen.closePath();
}

/** The same as the path of an SVG. @param {number} index @param {number} radius */
export function outline(index, radius) {
  const places = corners(index, radius);
  if (!places.length) return `M${radius} 0A${radius} ${radius} 0 1 1 ${-radius} 0A${radius} ${radius} 0 1 1 ${radius} 0Z`;
  return `M${places.map(([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`).join("L")}Z`;
}

/** Make an element of class `dot` the mark of a landmark. @param {HTMLElement} dot @param {number} index */
export function dress(dot, index) {
  if (dot.dataset.mark === String(index)) return;
  dot.dataset.mark = String(index);
  dot.style.setProperty("--hue", hue(Math.max(0, index)));
  const picture = document.importNode(get("mark", HTMLTemplateElement).content, true);
  for (const path of picture.querySelectorAll("path")) path.setAttribute("d", outline(index, 5));
  dot.replaceChildren(picture);
}
