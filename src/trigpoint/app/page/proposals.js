/** What models find in the images: proposals to accept, and predictions beside the labels. */

import { ask } from "./api.js";
import { get } from "./dom.js";
import { moved } from "./together.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {[number, number, number, number | null]} Guess x, y, score, how far views lie apart */
/** @typedef {import("./together.js").Together} Together */
/** @typedef {{run: string, rows: Record<string, Guess>[] | null, learned: boolean, together: Together | null}} Found */
/** @typedef {{error: (number | null)[], doubt: (number | null)[], apart: (number | null)[], gain?: number}} Compared */
/** @typedef {{runs: string[], images: Record<string, Compared>, total: number}} All */

const REST = 3000; // ms between two looks at all predictions

/** Events: `changed`, `all` (the numbers of all images are new). */
export class Proposals extends EventTarget {
  /** @param {Store} store */
  constructor(store) {
    super();
    this.store = store;
    /** @type {Found[]} */
    this.found = [];
    /** @type {All} */
    this.all = { runs: [], images: {}, total: 0 };
    this.shown = true;
    this.image = -1;
    this.asked = 0;
    this.wanted = false;
    /** Where proposals have moved, by landmark; null: to be computed. @type {Record<string, Guess> | null} */
    this.moved = null;
    for (const kind of ["state", "image", "set"]) store.addEventListener(kind, () => (this.moved = null));
    store.addEventListener("image", () => this.fetch());
    store.addEventListener("news", (event) => this.told(/** @type {CustomEvent} */ (event).detail));
    for (const kind of ["state", "image", "set"]) store.addEventListener(kind, () => this.describe());
    get("accept").onclick = () => this.acceptAll();
    const show = get("predicted", HTMLInputElement);
    show.onchange = () => this.show(show.checked);
  }

  /** @param {boolean} shown */
  show(shown) {
    this.shown = shown;
    get("predicted", HTMLInputElement).checked = shown;
    this.changed();
  }

  changed() {
    this.moved = null;
    this.describe();
    this.dispatchEvent(new Event("changed"));
  }

  async begin() {
    this.status(await ask("GET", "/api/learning"));
    await this.fetch();
    await this.fetchAll();
  }

  async fetch() {
    const { image } = this.store;
    if (image < 0) return;
    if (image !== this.image) this.found = [];
    this.image = image;
    const found = await ask("GET", `/api/images/${image}/predictions`).catch(() => []);
    if (image !== this.store.image) return;
    this.found = found;
    this.changed();
  }

  /** All images in numbers, at most every few seconds. */
  async fetchAll() {
    const now = performance.now();
    if (now - this.asked < REST) {
      if (!this.wanted) setTimeout(() => ((this.wanted = false), this.fetchAll()), REST);
      this.wanted = true;
      return;
    }
    this.asked = now;
    this.all = await ask("GET", "/api/predictions").catch(() => this.all);
    this.dispatchEvent(new Event("all"));
  }

  /** @param {any} event */
  told(event) {
    if (event.kind === "learning") this.status(event.status);
    if (event.kind === "runs") {
      this.found = [];
      this.fetch();
    }
    if (event.kind === "predicted") {
      if (event.id === this.store.image) this.fetch();
      this.fetchAll();
    }
    if (event.kind === "changed" && this.all.runs.length) this.fetchAll();
  }

  /** The proposal for a landmark of the current object. @param {string} name @param {number} [run] @returns {Guess | undefined} */
  guess(name, run = 0) {
    return this.found[run]?.rows?.[this.store.row]?.[name];
  }

  /** Where a landmark is proposed now that others were corrected. @param {string} name @returns {Guess | undefined} */
  proposed(name) {
    const found = this.found[0];
    const guesses = found?.rows?.[this.store.row];
    if (!guesses || !found.together || this.store.set.instances) return this.guess(name);
    this.moved ??= moved(guesses, this.store.current.marks, found.together);
    return this.moved[name];
  }

  /** Proposals of landmarks that are left to label. @returns {[string, Guess][]} */
  get open() {
    if (!this.shown || this.store.readOnly) return [];
    /** @type {[string, Guess][]} */
    const open = [];
    for (const name of this.store.left) {
      const guess = this.proposed(name);
      if (guess) open.push([name, guess]);
    }
    return open;
  }

  acceptAll() {
    const { store } = this;
    const open = this.open;
    if (!open.length) {
      store.notice("There is nothing to accept.");
      return;
    }
    store.how = "accepted";
    store.setMarks(Object.fromEntries(open.map(([name, [x, y]]) => [name, /** @type {[number, number, 2]} */ ([x, y, 2])])));
    store.active = "";
    store.emit("selection");
  }

  // -- words ----------------------------------------------------------------------------------------------------

  /** What the learner does. @param {any} status */
  status(status) {
    const { phase, images, need, minutes, share, quality, why } = status;
    const learned = images === 1 ? "1 image" : `${images} images`;
    const begun = share ? `${Math.round(100 * share)} % of about ${minutes} min` : `begins, about ${minutes} min; longer while the machine is busy`;
    const plain = phase === "waiting" ? `Learns from ${need === 1 ? "one labelled image" : `${need} labelled images`} on.` : "";
    /** @type {Record<string, string>} */
    const words = {
      off: "",
      waiting: plain,
      learning: `Learning from ${learned}: ${begun}.`,
      ready: `Learned from ${learned}.${quality ? ` Validation: ${quality.replace(/^MRE /, "mean error ")}.` : ""}`,
      failed: `Could not learn yet: ${why}`,
    };
    get("learning").textContent = words[phase] ?? "";
    this.learns = phase !== "off";
    this.describe();
  }

  describe() {
    const any = this.found.length > 0;
    get("model-card").hidden = !any && !this.learns;
    get("model-tools").hidden = !any;
    get("model-title").textContent = this.title();
    const open = this.open.length;
    get("accept").hidden = !open;
    get("accept-count").textContent = open === 1 ? "1 proposal" : `${open} proposals`;
    get("model-text").textContent = this.onImage();
  }

  /** The runs, with the marks that their predictions have. */
  title() {
    if (!this.found.length || this.found[0].learned) return "Model";
    return this.found.map((found, index) => `${found.run} (${index ? "+" : "×"})`).join(" and ");
  }

  /** How the first run does on this image. */
  onImage() {
    if (!this.found.length) return "";
    if (!this.found[0].rows) return "Predicting…";
    const along = this.found[0].together && !this.store.set.instances ? "; others near it move along" : "";
    const hint = this.open.length ? `Drag a proposal to correct it${along}.` : "";
    const errors = this.errors();
    if (this.found[0].learned || !errors.length) return hint;
    const mean = errors.reduce((sum, [, error]) => sum + error, 0) / errors.length;
    const [name, worst] = errors[0];
    return `Labels and predictions are ${mean.toFixed(1)} px apart, at most ${worst.toFixed(1)} px (${name}).`;
  }

  /** How far a label is from its prediction, pixels. @param {string} name @returns {number | null} */
  error(name) {
    if (this.found[0]?.learned) return null;
    const [guess, mark] = [this.guess(name), this.store.mark(name)];
    return guess && Array.isArray(mark) ? Math.hypot(guess[0] - mark[0], guess[1] - mark[1]) : null;
  }

  /** Distances of labels and predictions, the largest first. @returns {[string, number][]} */
  errors() {
    /** @type {[string, number][]} */
    const errors = [];
    for (const name of this.store.landmarks) {
      const error = this.error(name);
      if (error !== null) errors.push([name, error]);
    }
    return errors.sort((a, b) => b[1] - a[1]);
  }
}
