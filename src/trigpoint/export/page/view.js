/** The image with its points: zoom, pan, drag. Everything in pixels of the image, whose first has its centre at 0. */

import { paintLine, paintMark, paintNames } from "./marks.js";
import { cleared, onceAPicture } from "./pen.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./store.js").Point} Point */
/** @typedef {{id: number, x: number, y: number, moved: boolean, from: Point | undefined, dx: number, dy: number}} Press */

const NAMED = 14; // with more landmarks only the selected one and the one under the pointer are named
const NEAR = /** @type {Record<string, number>} */ ({ mouse: 10, pen: 12, touch: 24 }); // CSS pixels to take hold of a point
const STILL = 4; // CSS pixels that a click may move

export class View {
  /** @param {Store} store @param {HTMLElement} place @param {HTMLCanvasElement} canvas */
  constructor(store, place, canvas) {
    this.store = store;
    this.place = place;
    this.canvas = canvas;
    /** @type {ImageBitmap | null} */
    this.bitmap = null;
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.fitted = true;
    /** @type {Press | null} */
    this.press = null;
    /** @type {Map<number, {x: number, y: number}>} */
    this.down = new Map();
    /** @type {{row: number, k: number} | null} */
    this.hover = null;
    this.draw = onceAPicture(() => this.paint());
    this.bind();
  }

  bind() {
    const { place, store } = this;
    for (const kind of ["points", "selection"]) store.addEventListener(kind, () => this.draw());
    new ResizeObserver(() => (this.fitted ? this.fit() : this.draw())).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    place.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    place.addEventListener("pointerdown", (event) => this.pressed(event));
    place.addEventListener("pointermove", (event) => this.moved(event));
    place.addEventListener("pointerup", (event) => this.released(event));
    place.addEventListener("pointercancel", (event) => this.cancelled(event));
  }

  /** @param {ImageBitmap | null} bitmap */
  open(bitmap) {
    this.bitmap = bitmap;
    this.press = null;
    this.hover = null;
    this.fit();
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.place;
    this.fitted = true;
    if (this.bitmap && width && height) {
      const [wide, high] = [this.bitmap.width, this.bitmap.height];
      this.scale = Math.min((width - 32) / wide, (height - 32) / high);
      this.left = (width - wide * this.scale) / 2;
      this.top = (height - high * this.scale) / 2;
    }
    this.draw();
  }

  /** @param {number} factor @param {number} [x] CSS pixel that stays @param {number} [y] */
  zoom(factor, x = this.place.clientWidth / 2, y = this.place.clientHeight / 2) {
    if (!this.bitmap) return;
    const scale = Math.min(64, Math.max(0.01, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  /** @param {number} x @param {number} y in the image */
  toScreen(x, y) {
    return { x: this.left + (x + 0.5) * this.scale, y: this.top + (y + 0.5) * this.scale };
  }

  /** @param {number} x @param {number} y CSS pixels of the place @returns {[number, number]} */
  toImage(x, y) {
    return [(x - this.left) / this.scale - 0.5, (y - this.top) / this.scale - 0.5];
  }

  /** @param {MouseEvent} event */
  position(event) {
    const box = this.place.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** @param {number} x @param {number} y @param {string} kind of pointer */
  hit(x, y, kind) {
    let best = null;
    let least = NEAR[kind] ?? NEAR.mouse;
    for (const [row, { points }] of (this.store.item?.rows ?? []).entries()) {
      for (const [k, point] of points.entries()) {
        if (!point) continue;
        const at = this.toScreen(...point);
        const distance = Math.hypot(at.x - x, at.y - y);
        if (distance <= least) [best, least] = [{ row, k }, distance];
      }
    }
    return best;
  }

  /** @param {WheelEvent} event */
  wheeled(event) {
    if (!this.bitmap) return;
    event.preventDefault();
    const { x, y } = this.position(event);
    this.zoom(2 ** (-event.deltaY / (event.deltaMode ? 8 : 300)), x, y);
  }

  /** @param {PointerEvent} event */
  pressed(event) {
    const { x, y } = this.position(event);
    this.down.set(event.pointerId, { x, y });
    if (event.button !== 0 || !this.bitmap) return;
    this.place.setPointerCapture(event.pointerId);
    const hit = this.down.size === 1 ? this.hit(x, y, event.pointerType) : null;
    this.press = { id: event.pointerId, x, y, moved: false, from: undefined, dx: 0, dy: 0 };
    if (!hit) return;
    this.store.choose(hit.row, hit.k);
    const from = /** @type {[number, number]} */ (this.store.current?.points[hit.k]);
    const at = this.toScreen(...from);
    Object.assign(this.press, { from, dx: at.x - x, dy: at.y - y });
  }

  /** @param {PointerEvent} event */
  moved(event) {
    const { x, y } = this.position(event);
    const before = this.down.get(event.pointerId);
    if (before && this.down.size === 2) this.pinched(event.pointerId, before, { x, y });
    if (before) this.down.set(event.pointerId, { x, y });
    const { press } = this;
    if (!press || press.id !== event.pointerId || !before) return this.hovered(x, y, event.pointerType);
    if (Math.hypot(x - press.x, y - press.y) >= STILL) press.moved = true;
    if (!press.moved || this.down.size > 1) return;
    if (press.from) {
      this.store.move(this.toImage(x + press.dx, y + press.dy), press.from, true);
    } else {
      this.pan(x - before.x, y - before.y);
    }
  }

  /** @param {number} dx @param {number} dy CSS pixels */
  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.fitted = false;
    this.draw();
  }

  /** @param {number} id @param {{x: number, y: number}} before @param {{x: number, y: number}} now */
  pinched(id, before, now) {
    const other = [...this.down].find(([key]) => key !== id)?.[1];
    if (!other) return;
    if (this.press) this.press.moved = true;
    const [was, is] = [before, now].map((one) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y)));
    this.zoom(is / was, (now.x + other.x) / 2, (now.y + other.y) / 2);
    this.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
  }

  /** @param {number} x @param {number} y @param {string} kind */
  hovered(x, y, kind) {
    const hit = kind === "touch" ? null : this.hit(x, y, kind);
    if (hit?.k === this.hover?.k && hit?.row === this.hover?.row) return;
    this.hover = hit;
    this.place.style.cursor = hit ? "grab" : "";
    this.draw();
  }

  /** @param {PointerEvent} event */
  released(event) {
    this.down.delete(event.pointerId);
    const { press, store } = this;
    if (!press || press.id !== event.pointerId) return;
    this.press = null;
    const { x, y } = this.position(event);
    if (press.from && press.moved) {
      store.move(this.toImage(x + press.dx, y + press.dy), press.from);
    } else if (!press.moved && !press.from && store.current && !store.current.points[store.active]) {
      store.move(this.toImage(x, y));
    }
  }

  /** @param {PointerEvent} event */
  cancelled(event) {
    this.down.delete(event.pointerId);
    const { press, store } = this;
    this.press = null;
    if (press?.from && press.moved) store.move(store.current?.points[store.active] ?? null, press.from);
  }

  paint() {
    const { canvas, place, bitmap } = this;
    const pen = cleared(canvas, place.clientWidth, place.clientHeight);
    if (!bitmap) return;
    pen.imageSmoothingEnabled = this.scale < 3;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(bitmap, this.left, this.top, bitmap.width * this.scale, bitmap.height * this.scale);
    this.paintPoints(pen);
  }

  /** @param {CanvasRenderingContext2D} pen */
  paintPoints(pen) {
    const { store, hover } = this;
    const { landmarks, skeleton } = store.about;
    const places = (store.item?.rows ?? []).map(({ points }) => points.map((point) => point && this.toScreen(...point)));
    for (const row of places) for (const [a, b] of skeleton) paintLine(pen, row[landmarks.indexOf(a)], row[landmarks.indexOf(b)]);
    /** @type {{at: {x: number, y: number}, name: string, strong: boolean}[]} */
    const named = [];
    places.forEach((row, r) => row.forEach((at, k) => {
      if (!at) return;
      const active = r === store.row && k === store.active;
      const under = hover?.row === r && hover.k === k;
      paintMark(pen, at, k, active, under);
      if (active || under || (r === store.row && landmarks.length <= NAMED)) named.push({ at, name: landmarks[k], strong: active || under });
    }));
    paintNames(pen, named.sort((a, b) => Number(b.strong) - Number(a.strong)));
  }
}
