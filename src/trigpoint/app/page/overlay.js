/** Marks drawn over the image, on a canvas as fine as the screen. */

import { hue } from "./colours.js";
import { trace } from "./marks.js";
import { cleared, onceAPicture } from "./pen.js";

/** @typedef {import("./viewer.js").Viewer} Viewer */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").Row} Row */
/** @typedef {import("./proposals.js").Proposals} Proposals */
/** @typedef {{row: number, name: string, distance: number, guess?: import("./proposals.js").Guess}} Hit */

const NAMED = 14; // with more landmarks only the selected one and the one under the pointer are named
const EDGE = 3; // CSS pixels that a name keeps from the border
const NEAR = { mouse: 10, pen: 12, touch: 24 }; // CSS pixels within which a mark is taken hold of

export class Overlay {
  /** @param {Viewer} viewer @param {Store} store @param {HTMLCanvasElement} canvas @param {Proposals} proposals */
  constructor(viewer, store, canvas, proposals) {
    this.proposals = proposals;
    this.viewer = viewer;
    this.store = store;
    this.canvas = canvas;
    this.hidden = false;
    this.names = true;
    this.texts = new Names(0);
    /** @type {Hit | null} */
    this.hover = null;
    this.draw = onceAPicture(() => this.paint());
    viewer.addEventListener("view", this.draw);
    proposals.addEventListener("changed", this.draw);
    for (const kind of ["state", "selection", "set"]) store.addEventListener(kind, this.draw);
  }

  paint() {
    const { canvas, viewer, store } = this;
    const { left, top, width, height } = viewer.place.style; // on whole device pixels
    Object.assign(canvas.style, { left, top, width, height });
    const pen = cleared(canvas, parseFloat(width), parseFloat(height));
    if (!viewer.ready || !store.set || this.hidden) return;
    this.texts = new Names(parseFloat(width));
    store.state.rows.forEach((row, index) => this.paintLines(pen, row, index === store.row));
    if (this.proposals.shown) this.paintGuesses(pen);
    store.state.rows.forEach((row, index) => {
      if (index !== store.row) this.paintRow(pen, row, index);
    });
    if (store.state.rows[store.row]) this.paintRow(pen, store.current, store.row);
  }

  /** @param {CanvasRenderingContext2D} pen @param {Row} row @param {boolean} current */
  paintLines(pen, row, current) {
    pen.lineWidth = 1.5;
    pen.globalAlpha = current ? 0.75 : 0.4;
    pen.strokeStyle = "#ffffff";
    for (const [from, to] of this.store.set.skeleton) {
      const [a, b] = [row.marks[from], row.marks[to]];
      if (!Array.isArray(a) || !Array.isArray(b)) continue;
      const [start, end] = [this.viewer.toScreen(a[0], a[1]), this.viewer.toScreen(b[0], b[1])];
      pen.beginPath();
      pen.moveTo(start.x, start.y);
      pen.lineTo(end.x, end.y);
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  /** What runs find: × of the first, + of the second, with a line from the label. @param {CanvasRenderingContext2D} pen */
  paintGuesses(pen) {
    const { store, viewer, proposals } = this;
    proposals.found.forEach((found, run) => {
      for (const [index, row] of (found.rows ?? []).entries()) {
        for (const [name, guess] of Object.entries(row)) {
          const k = store.landmarks.indexOf(name);
          if (k < 0) continue;
          const mark = store.state.rows[index]?.marks[name];
          if (mark !== undefined && found.learned) continue; // it has done its work
          const shown = (mark === undefined && run === 0 && index === store.row && proposals.proposed(name)) || guess;
          const at = viewer.toScreen(shown[0], shown[1]);
          if (Array.isArray(mark)) paintLink(pen, viewer.toScreen(mark[0], mark[1]), at, hue(k));
          paintGuess(pen, at.x, at.y, hue(k), run > 0);
          const named = mark === undefined && this.names && store.landmarks.length <= NAMED;
          if (named && run === 0) this.texts.paint(pen, at.x, at.y, name, false);
        }
      }
    });
  }

  /** @param {CanvasRenderingContext2D} pen @param {Row} row @param {number} index */
  paintRow(pen, row, index) {
    const { store, viewer } = this;
    const current = index === store.row;
    /** @type {[{x: number, y: number}, string, boolean][]} */
    const named = [];
    store.landmarks.forEach((name, k) => {
      const mark = row.marks[name];
      if (!Array.isArray(mark)) return;
      const at = viewer.toScreen(mark[0], mark[1]);
      const active = current && name === store.active;
      const under = this.hover?.row === index && this.hover.name === name;
      pen.globalAlpha = current ? 1 : 0.6;
      paintMark(pen, at.x, at.y, k, { active, occluded: mark[2] === 1, under });
      const few = this.names && current && store.landmarks.length <= NAMED;
      if (few || active || under) named.push([at, name, active || under]);
    });
    pen.globalAlpha = 1;
    named.sort((a, b) => Number(b[2]) - Number(a[2]));
    for (const [at, name, strong] of named) this.texts.paint(pen, at.x, at.y, name, strong);
  }

  /**
   * The mark at a position in CSS pixels; of the current object rather than of another.
   *
   * @param {number} x
   * @param {number} y
   * @param {string} kind of pointer
   * @returns {Hit | null}
   */
  hit(x, y, kind) {
    if (this.hidden || !this.viewer.ready) return null;
    const near = NEAR[/** @type {"mouse"} */ (kind)] ?? NEAR.mouse;
    /** @type {Hit | null} */
    let best = null;
    this.store.state.rows.forEach((row, index) => {
      for (const [name, mark] of Object.entries(row.marks)) {
        if (!Array.isArray(mark)) continue;
        const at = this.viewer.toScreen(mark[0], mark[1]);
        const distance = Math.hypot(at.x - x, at.y - y) + (index === this.store.row ? 0 : near / 4);
        if (distance <= near && (!best || distance < best.distance)) best = { row: index, name, distance };
      }
    });
    if (best) return best;
    for (const [name, guess] of this.proposals.open) {
      const at = this.viewer.toScreen(guess[0], guess[1]);
      const distance = Math.hypot(at.x - x, at.y - y);
      const before = /** @type {Hit | null} */ (best);
      if (distance <= near && (!before || distance < before.distance)) best = { row: this.store.row, name, distance, guess };
    }
    return best;
  }
}

/**
 * A ring, or another outline, with its middle free, so that the pixel that is meant can be seen.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {number} x
 * @param {number} y
 * @param {number} index of the landmark
 * @param {{active: boolean, occluded: boolean, under: boolean}} look
 */
function paintMark(pen, x, y, index, look) {
  const colour = hue(index);
  const radius = look.active || look.under ? 7 : 5;
  for (const [stroke, width] of /** @type {[string, number][]} */ ([["#000000b8", 4], [colour, 2]])) {
    pen.strokeStyle = stroke;
    pen.lineWidth = width;
    pen.setLineDash(look.occluded && width === 2 ? [2.6, 2.6] : []);
    trace(pen, x, y, index, radius);
    pen.stroke();
    pen.setLineDash([]);
    if (look.active) {
      pen.lineWidth = width / 2;
      pen.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        pen.moveTo(x + 9 * dx, y + 9 * dy);
        pen.lineTo(x + 15 * dx, y + 15 * dy);
      }
      pen.stroke();
    }
  }
  pen.fillStyle = colour;
  pen.fillRect(x - 0.75, y - 0.75, 1.5, 1.5);
}

/** @param {CanvasRenderingContext2D} pen @param {number} x @param {number} y @param {string} colour @param {boolean} upright */
function paintGuess(pen, x, y, colour, upright) {
  const arms = upright ? [[6, 0], [0, 6]] : [[4.5, 4.5], [4.5, -4.5]];
  for (const [stroke, width] of /** @type {[string, number][]} */ ([["#000000b8", 4], [colour, 1.8]])) {
    pen.strokeStyle = stroke;
    pen.lineWidth = width;
    pen.beginPath();
    for (const [dx, dy] of arms) {
      pen.moveTo(x - dx, y - dy);
      pen.lineTo(x + dx, y + dy);
    }
    pen.stroke();
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {{x: number, y: number}} from
 * @param {{x: number, y: number}} to
 * @param {string} colour
 */
function paintLink(pen, from, to, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = 1.2;
  pen.beginPath();
  pen.moveTo(from.x, from.y);
  pen.lineTo(to.x, to.y);
  pen.stroke();
}

/** Names on the canvas, none over another or cut; one that finds no room is left out unless it has to be seen. */
class Names {
  /** @param {number} width of the canvas, CSS pixels */
  constructor(width) {
    this.width = width;
    /** @type {[number, number, number, number][]} */
    this.taken = [];
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} x @param {number} y @param {string} name @param {boolean} strong */
  paint(pen, x, y, name, strong) {
    pen.font = `${strong ? 600 : 500} 12px system-ui, sans-serif`;
    const wide = pen.measureText(name).width;
    const places = [[x + 10, y - 8], [x + 10, y + 16], [x - 10 - wide, y - 8], [x - 10 - wide, y + 16], [x + 12, y + 4]];
    const free = places.find(([left, base]) => this.fits(left, base, wide));
    if (!free && !strong) return;
    const [left, base] = free ?? [Math.max(EDGE, Math.min(places[0][0], this.width - EDGE - wide)), places[0][1]];
    this.taken.push([left, base - 12, left + wide, base + 3]);
    pen.lineWidth = 3;
    pen.lineJoin = "round";
    pen.strokeStyle = "#000000c0";
    pen.fillStyle = "#ffffff";
    pen.strokeText(name, left, base);
    pen.fillText(name, left, base);
  }

  /** @param {number} left @param {number} base @param {number} wide */
  fits(left, base, wide) {
    if (left < EDGE || left + wide > this.width - EDGE) return false;
    return this.taken.every(([l, t, r, b]) => left > r || left + wide < l || base - 12 > b || base + 3 < t);
  }
}
