/** The table, with the columns that `trigpoint predict` writes. */

import { same } from "./store.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./store.js").Row} Row */

/** @param {number} value @param {number} digits */
function number(value, digits) {
  if (!Number.isFinite(value)) return "";
  const text = String(Number(value.toFixed(digits)));
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/** @param {string} text */
const field = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/**
 * A row per image, or per instance; blank = no such landmark; `flag` where the run can say it. A point that was set by hand has no score and no radius,
 * which are those of the model.
 *
 * @param {Store} store
 */
export function tableText({ about, items, spread, trust }) {
  const { landmarks, threshold } = about;
  const several = threshold !== null;
  const ends = ["x", "y", "score", "radius", ...(spread ? ["spread"] : [])];
  const head = ["image", ...(trust ? ["flag"] : [])];
  const lines = [[...head, ...(several ? ["instance"] : []), ...landmarks.flatMap((name) => ends.map((end) => `${name}_${end}`))]];
  /** @param {Row} row */
  const cells = (row) => landmarks.flatMap((_, k) => cellsOf(row, k, ends.length));
  for (const { name, state, rows, flag } of items) {
    if (state !== "done") continue;
    const first = [name, ...(trust ? [flag?.kind ?? ""] : [])];
    const kept = several ? rows.filter((row) => row.points.some(Boolean)) : rows;
    kept.forEach((row, i) => lines.push([...first, ...(several ? [String(i + 1)] : []), ...cells(row)]));
    if (!kept.length) lines.push([...first, "", ...landmarks.flatMap(() => ends.map(() => ""))]);
  }
  return lines.map((line) => line.map(field).join(",") + "\n").join("");
}

/** @param {Row} row @param {number} k @param {number} count */
function cellsOf({ points, found, scores, radius, spread }, k, count) {
  const point = points[k];
  const by = same(point, found[k]) ? [scores[k], Number.isFinite(scores[k]) ? radius[k] : NaN, spread[k]] : [NaN, NaN, NaN];
  const [x, y] = point ?? [NaN, NaN];
  return [number(x, 3), number(y, 3), number(by[0], 5), number(by[1], 3), number(by[2], 3)].slice(0, count);
}
