/** The images, what was found in them, and what was corrected. */

import { Trust } from "./trust.js";

/** @typedef {import("./types.js").About} About */
/** @typedef {import("./types.js").Flag} Flag */
/** @typedef {import("./types.js").Found} Found */
/** @typedef {import("./files.js").Given} Given */
/** @typedef {[number, number] | null} Point x, y in pixels of the image; null: no such landmark */
/** @typedef {{points: Point[], found: Point[], scores: number[], radius: number[], spread: number[]}} Row */
/** @typedef {"waiting" | "done" | "refused"} State */
/** @typedef {{name: string, file: File, state: State, text: string, width: number, height: number, rows: Row[], flag: Flag | null}} Item */
/** @typedef {{item: Item, row: number, k: number, before: Point, after: Point}} Change */

const FORMULA = /^[=+\-@\t\r]/; // what a spreadsheet would run

/** @param {Point} a @param {Point} b */
export const same = (a, b) => a === b || Boolean(a && b && a[0] === b[0] && a[1] === b[1]);

export class Store extends EventTarget {
  /** @param {About} about */
  constructor(about) {
    super();
    this.about = about;
    /** @type {Item[]} */
    this.items = [];
    /** @type {Item | null} */
    this.item = null;
    this.row = 0;
    this.active = 0;
    /** @type {Change[]} */
    this.undone = [];
    /** @type {Change[]} */
    this.done = [];
    this.saved = true;
    this.spread = false; // whether the model tells it
    this.trust = about.trust && new Trust(about.trust);
  }

  /** @param {string} kind */
  emit(kind) {
    this.dispatchEvent(new Event(kind));
  }

  /** Take images; how many are in the list already. @param {Given[]} given */
  add(given) {
    const known = new Map(this.items.map((item) => [item.name, item]));
    let twice = 0;
    for (const { name, file } of given) {
      const before = known.get(name);
      if (before && before.file.size === file.size && before.file.lastModified === file.lastModified) {
        twice += 1;
        continue;
      }
      /** @type {Item} */
      const item = { name, file, state: "waiting", text: "", width: 0, height: 0, rows: [], flag: null };
      if (before) this.refuse(item, "has the name of another image in the list. Drop the folder that holds both.");
      else if (FORMULA.test(name)) this.refuse(item, "has a name that a spreadsheet would take for a formula. Rename it.");
      else known.set(name, item);
      this.items.push(item);
    }
    this.emit("items");
    return twice;
  }

  /** @param {Item} item @param {string} text */
  refuse(item, text) {
    Object.assign(item, { state: "refused", text });
    this.emit("items");
  }

  /** @param {Item} item @param {Found} found */
  found(item, found) {
    const count = this.about.landmarks.length;
    this.spread ||= found.spread !== null;
    item.rows = Array.from({ length: found.count }, (_, row) => {
      /** @type {Row} */
      const made = { points: [], found: [], scores: [], radius: [], spread: [] };
      for (let k = 0, at = row * count; k < count; k += 1, at += 1) {
        const [x, y] = [found.points[2 * at], found.points[2 * at + 1]];
        const point = /** @type {Point} */ (Number.isFinite(x) && Number.isFinite(y) ? [x, y] : null);
        made.points.push(point);
        made.found.push(point);
        made.scores.push(found.scores[at]);
        made.radius.push(found.radius[k]);
        made.spread.push(found.spread ? found.spread[at] : NaN);
      }
      return made;
    });
    Object.assign(item, { state: "done", width: found.width, height: found.height, flag: this.trust?.of(found) ?? null });
    this.saved = false;
    this.emit("items");
    if (item === this.item) this.emit("points");
  }

  /** @param {Item | null} item */
  open(item) {
    if (item === this.item) return;
    Object.assign(this, { item, row: 0, active: 0 });
    this.emit("image");
  }

  /** @param {number} row @param {number} k */
  choose(row, k) {
    Object.assign(this, { row, active: k });
    this.emit("selection");
  }

  /** @returns {Row | undefined} */
  get current() {
    return this.item?.rows[this.row];
  }

  /** Move the active landmark, or remove it; `going` while it is dragged, which is one change. @param {Point} point @param {Point} [from] @param {boolean} [going] */
  move(point, from, going = false) {
    const { item, row, active: k, current } = this;
    if (!item || !current) return;
    const before = from === undefined ? current.points[k] : from;
    const inside = /** @type {Point} */ (point && [clamp(point[0], item.width), clamp(point[1], item.height)]);
    current.points[k] = inside;
    if (!going && !same(before, inside)) {
      this.done.push({ item, row, k, before, after: inside });
      this.undone = [];
    }
    this.saved = false;
    this.emit("points");
  }

  /** @param {"undo" | "redo"} way */
  step(way) {
    const [from, to] = way === "undo" ? [this.done, this.undone] : [this.undone, this.done];
    const change = from.pop();
    if (!change) return;
    to.push(change);
    this.open(change.item);
    change.item.rows[change.row].points[change.k] = way === "undo" ? change.before : change.after;
    this.saved = false;
    this.choose(change.row, change.k);
    this.emit("points");
  }

  /** Another instance, with nothing in it yet. */
  addRow() {
    if (this.item?.state !== "done") return;
    const nothing = this.about.landmarks.map(() => null);
    const blank = nothing.map(() => NaN);
    this.item.rows.push({ points: [...nothing], found: nothing, scores: blank, radius: blank, spread: blank });
    this.choose(this.item.rows.length - 1, 0);
    this.emit("points");
  }

  /** What is unlike the validation images, of all images that are done. */
  unlike() {
    const flagged = this.items.flatMap(({ flag, name }) => (flag ? [{ far: flag.far, name }] : []));
    return this.trust?.told(flagged.map(({ far }) => far), flagged.map(({ name }) => name.split("/").at(-1) ?? "")) ?? "";
  }

  /** How many points were set by hand or removed. @param {Item} item */
  corrected(item) {
    return item.rows.reduce((sum, row) => sum + row.points.filter((point, k) => !same(point, row.found[k])).length, 0);
  }
}

/** Within the image, whose first pixel has its centre at 0. @param {number} at @param {number} length */
const clamp = (at, length) => Math.min(length - 0.5, Math.max(-0.5, at));
