/** What is labelled: the set, the open image, what is selected; and the queue of what is to be saved. */

import { ApiError, ask } from "./api.js";

/** @typedef {import("./types.js").Overview} Overview */
/** @typedef {import("./types.js").Summary} Summary */
/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Row} Row */
/** @typedef {import("./types.js").Mark} Mark */
/** @typedef {import("./types.js").Full} Full */
/** @typedef {import("./types.js").History} History */

const AGAIN = 2000; // ms until a save that failed is tried again

/** @returns {State} */
export const blank = () => ({ rows: [], note: "", doubtful: false, split: "", subject: "", annotator: "" });

/** Events: `set`, `image` (another one is open), `state`, `selection`, `summary` (detail: id), `saving`, `notice`. */
export class Store extends EventTarget {
  constructor() {
    super();
    /** @type {Overview} */
    this.set = /** @type {any} */ (null);
    this.image = -1;
    /** @type {State} */
    this.state = blank();
    this.row = 0;
    /** The landmark that arrow keys move. */
    this.active = "";
    /** Whether the user has chosen it, and it is not just the last one placed. */
    this.chosen = false;
    /** The landmark that the user wants to place next; "" for the first that is left. */
    this.wanted = "";
    /** @type {History} */
    this.history = { undo: 0, redo: 0, pace: null };
    /** @type {Map<number, State>} */
    this.unsaved = new Map();
    /** @type {Map<number, number>} */
    this.revisions = new Map();
    /** What the server knows of each image. @type {Map<number, State>} */
    this.known = new Map();
    this.busy = false;
    this.saving = Promise.resolve();
    this.problem = "";
    /** @type {number[]} ms that saves took, for measuring */
    this.took = [];
    this.opening = 0;
    /** How the next change is made, for the journal. */
    this.how = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /** @param {string} kind @param {unknown} [detail] */
  emit(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  /** @param {string} text @param {"info" | "warning"} [weight] */
  notice(text, weight = "info") {
    this.emit("notice", { text, weight });
  }

  async load() {
    this.takeSet(await ask("GET", "/api/set"));
  }

  /** @param {Overview & History} set */
  takeSet(set) {
    this.set = set;
    this.history = { undo: set.undo, redo: set.redo, pace: set.pace };
    this.emit("set");
  }

  get readOnly() {
    return this.set.readOnly;
  }

  get landmarks() {
    return this.set.landmarks;
  }

  /** @returns {Summary | undefined} */
  get summary() {
    return this.set.images[this.image];
  }

  // -- images ---------------------------------------------------------------------------------------------------

  /** @param {number} id */
  async open(id) {
    const turn = ++this.opening;
    await this.flush();
    const full = await ask("GET", `/api/images/${id}`);
    if (turn !== this.opening) return;
    this.take(full);
  }

  /** Show an image as the server knows it. @param {Full} full */
  take(full) {
    const other = full.image.id !== this.image;
    this.image = full.image.id;
    this.learn(full);
    this.state = structuredClone(full.state);
    if (other) {
      this.row = 0;
      this.active = this.wanted = "";
      this.chosen = false;
      this.emit("image");
    }
    this.row = Math.max(0, Math.min(this.row, this.state.rows.length - 1));
    if (this.active && !Array.isArray(this.mark(this.active))) this.active = "";
    this.emit("state");
    this.emit("selection");
  }

  /** Keep what an answer says of an image. @param {Full} full */
  learn(full) {
    this.history = { undo: full.undo, redo: full.redo, pace: full.pace };
    this.revisions.set(full.image.id, full.revision);
    this.known.set(full.image.id, full.state);
    this.set.images[full.image.id] = full.image;
    this.emit("summary", full.image.id);
  }

  // -- marks ----------------------------------------------------------------------------------------------------

  /** @returns {Row} */
  get current() {
    return this.state.rows[this.row] ?? { instance: "", marks: {} };
  }

  /** @param {string} name @returns {Mark | undefined} */
  mark(name) {
    return this.current.marks[name];
  }

  /** The landmarks of the current object that are left to label. */
  get left() {
    return this.landmarks.filter((name) => this.mark(name) === undefined);
  }

  /** The landmark that the next click places; "" where none is left. */
  get next() {
    const left = this.left;
    if (left.includes(this.wanted)) return this.wanted;
    const start = this.landmarks.indexOf(this.active);
    return left.find((name) => this.landmarks.indexOf(name) > start) ?? left[0] ?? "";
  }

  /** Choose a landmark: one that is placed is moved by the arrow keys, another is placed next. @param {string} name */
  choose(name) {
    if (Array.isArray(this.mark(name))) {
      this.active = name;
      this.chosen = true;
    } else {
      this.wanted = name;
      this.chosen = this.mark(name) !== undefined;
      this.active = this.chosen ? name : "";
    }
    this.emit("selection");
  }

  /** Leave the next landmark for later. */
  skip() {
    const left = this.left;
    const at = left.indexOf(this.next);
    if (at >= 0) this.wanted = left[(at + 1) % left.length];
    this.active = "";
    this.chosen = false;
    this.emit("selection");
  }

  /**
   * Set or take away marks of the current object.
   *
   * @param {Record<string, Mark | undefined>} marks
   * @param {boolean} [later] while a drag or a row of key presses goes on: saved when it ends
   */
  setMarks(marks, later = false) {
    this.edit((state) => {
      if (!state.rows.length) state.rows.push({ instance: this.set.instances ? "1" : "", marks: {} });
      const row = state.rows[this.row];
      for (const [name, mark] of Object.entries(marks)) {
        if (mark === undefined) delete row.marks[name];
        else row.marks[name] = mark;
      }
    }, later);
  }

  /** Place the next landmark. @param {number} x @param {number} y */
  place(x, y) {
    const name = this.next;
    if (!name || this.readOnly) return;
    this.wanted = "";
    this.active = name;
    this.chosen = false;
    this.setMarks({ [name]: [x, y, 2] });
    this.emit("selection");
  }

  /** Another object in the image. */
  addRow() {
    const taken = new Set(this.state.rows.map((row) => row.instance));
    let number = 1;
    while (taken.has(String(number))) number += 1;
    this.edit((state) => {
      const empty = state.rows.length === 1 && state.rows[0].instance === "";
      if (empty) state.rows.pop();
      state.rows.push({ instance: String(number), marks: {} });
    });
    this.row = this.state.rows.length - 1;
    this.active = this.wanted = "";
    this.emit("selection");
  }

  /** @param {number} at */
  removeRow(at) {
    this.edit((state) => state.rows.splice(at, 1));
    this.row = Math.max(0, Math.min(this.row, this.state.rows.length - 1));
    this.active = this.wanted = "";
    this.emit("selection");
  }

  /** Say that the image shows no object at all. */
  noObjects() {
    /** @type {Record<string, Mark>} */
    const marks = Object.fromEntries(this.landmarks.map((name) => [name, "absent"]));
    this.edit((state) => (state.rows = [{ instance: "", marks }]));
    this.row = 0;
    this.emit("selection");
  }

  // -- saving ---------------------------------------------------------------------------------------------------

  /**
   * Change the state of the open image.
   *
   * @param {(state: State) => void} change
   * @param {boolean} [later]
   */
  edit(change, later = false) {
    if (this.readOnly) {
      this.notice("The set is open for reading only.", "warning");
      return;
    }
    change(this.state);
    this.unsaved.set(this.image, structuredClone(this.state));
    this.emit("state");
    clearTimeout(this.timer);
    if (!later) this.save();
    this.emit("saving");
  }

  /** Save what is left to be saved; done when all of it is, also what is on its way already. @returns {Promise<void>} */
  save() {
    if (!this.busy) this.saving = this.saveAll();
    return this.saving;
  }

  /** One image after another. */
  async saveAll() {
    this.busy = true;
    clearTimeout(this.timer);
    while (this.unsaved.size) {
      const [id, state] = /** @type {[number, State]} */ (this.unsaved.entries().next().value);
      const start = performance.now();
      try {
        const base = this.revisions.get(id) ?? 0;
        const before = this.known.get(id) ?? null;
        const full = await ask("PUT", `/api/images/${id}`, { base, before, state, how: this.how });
        this.how = "";
        this.took.push(performance.now() - start);
        this.problem = "";
        if (this.unsaved.get(id) === state) this.unsaved.delete(id);
        this.learn(full);
      } catch (error) {
        if (!(await this.failed(/** @type {ApiError} */ (error), id))) break;
      }
      this.emit("saving");
    }
    this.busy = false;
    this.emit("saving");
  }

  /** After a save that failed; whether to go on. @param {ApiError} error @param {number} id */
  async failed(error, id) {
    const lasting = error.status === 409 || error.status === 422;
    if (lasting) {
      this.unsaved.delete(id);
      this.notice(`Not saved: ${error.message}`, "warning");
      try {
        const full = await ask("GET", `/api/images/${id}`);
        if (id === this.image) this.take(full);
        else this.learn(full);
        return true;
      } catch {
        return false;
      }
    }
    this.problem = error.status === 403 ? "the server has other keys now: open its new address" : error.message;
    this.timer = setTimeout(() => this.save(), AGAIN);
    return false;
  }

  /** Save what a drag or key presses have changed. */
  async flush() {
    if (this.unsaved.size) await this.save();
  }

  /** @param {"undo" | "redo"} kind */
  async step(kind) {
    await this.flush();
    try {
      const full = await ask("POST", `/api/${kind}`);
      if (full.landmarks) {
        this.notice(`The landmarks are ${full.landmarks.join(", ")} again.`);
        await this.load();
        await this.refetch();
      } else if (!full.image) this.notice(`Nothing to ${kind}.`);
      else if (this.unsaved.has(full.image.id)) this.learn(full); // changed meanwhile: that is newer
      else this.take(full);
      if (full.image) this.emit("stepped", full.image.id);
    } catch (error) {
      this.notice(/** @type {Error} */ (error).message, "warning");
    }
  }

  /** Show the open image as the server has it now, where nothing of it is left to save. */
  async refetch() {
    const id = this.image;
    if (id < 0 || this.unsaved.has(id)) return;
    const full = await ask("GET", `/api/images/${id}`);
    // what was changed while the answer was on its way is newer than the answer
    if (this.image === id && !this.unsaved.has(id) && full.revision >= (this.revisions.get(id) ?? 0)) this.take(full);
  }

  /** After the connection was cut: the server may have been started again. */
  async again() {
    await this.load();
    for (const image of this.set.images) {
      if (this.revisions.has(image.id)) this.revisions.set(image.id, image.revision);
    }
    await this.flush();
    await this.refetch();
  }

  /** News of the server. @param {any} event */
  async told(event) {
    this.emit("news", event);
    if (event.kind === "trouble") this.notice(event.error, "warning");
    if (event.kind === "landmarks") {
      await this.load();
      await this.refetch();
    }
    if (event.kind === "scanned") {
      for (const image of event.images) this.learnSummary(image);
    }
    if (event.kind !== "changed" && event.kind !== "outside") return;
    const { image } = event;
    const known = this.revisions.get(image.id);
    const own = known !== undefined && image.revision <= known;
    if (own || (this.busy && image.id === this.image)) return;
    if ("undo" in event) this.history = { undo: event.undo, redo: event.redo, pace: event.pace };
    this.learnSummary(image);
    if (image.id === this.image && !this.unsaved.has(image.id)) {
      const from = event.kind === "outside" ? "by another program" : "in another window";
      this.notice(`This image was changed ${from}; it is shown as it is now.`);
      await this.refetch();
    }
  }

  /** @param {Summary} image */
  learnSummary(image) {
    this.set.images[image.id] = image;
    this.emit("summary", image.id);
  }
}
