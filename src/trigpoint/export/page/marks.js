/** How points, lines and names look on the image. */

import { hue } from "./colours.js";


/** @param {CanvasRenderingContext2D} pen @param {{x: number, y: number} | null} a @param {{x: number, y: number} | null} b */
export function paintLine(pen, a, b) {
  if (!a || !b) return;
  pen.strokeStyle = "#ffffffa0";
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.moveTo(a.x, a.y);
  pen.lineTo(b.x, b.y);
  pen.stroke();
}

/**
 * A ring with its middle free, so that the pixel that is meant can be seen.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {{x: number, y: number}} at
 * @param {number} k
 * @param {boolean} active
 * @param {boolean} under the pointer
 */
export function paintMark(pen, { x, y }, k, active, under) {
  const radius = active || under ? 7 : 5;
  for (const [stroke, width] of /** @type {[string, number][]} */ ([["#000000b8", 4], [hue(k), 2]])) {
    pen.strokeStyle = stroke;
    pen.lineWidth = width;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.stroke();
    if (!active) continue;
    pen.lineWidth = width / 2;
    pen.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      pen.moveTo(x + 9 * dx, y + 9 * dy);
      pen.lineTo(x + 15 * dx, y + 15 * dy);
    }
    pen.stroke();
  }
  pen.fillStyle = hue(k);
  pen.fillRect(x - 0.75, y - 0.75, 1.5, 1.5);
}

/**
 * Names, none over another; one that finds no room is left out unless it has to be seen.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {{at: {x: number, y: number}, name: string, strong: boolean}[]} named those that have to be seen first
 */
export function paintNames(pen, named) {
  /** @type {[number, number, number, number][]} */
  const taken = [];
  pen.font = '600 12px system-ui, "Liberation Sans", sans-serif';
  Object.assign(pen, { lineWidth: 3, lineJoin: "round", strokeStyle: "#000000c0", fillStyle: "#ffffff" });
  for (const { at: { x, y }, name, strong } of named) {
    const wide = pen.measureText(name).width;
    const places = [[x + 10, y - 8], [x + 10, y + 16], [x - 10 - wide, y - 8], [x - 10 - wide, y + 16]];
    const free = places.find(([left, base]) => {
      return taken.every(([l, t, r, b]) => left > r || left + wide < l || base - 12 > b || base + 3 < t);
    });
    if (!free && !strong) continue;
    const [left, base] = free ?? places[0];
    taken.push([left, base - 12, left + wide, base + 3]);
    pen.strokeText(name, left, base);
    pen.fillText(name, left, base);
  }
}
