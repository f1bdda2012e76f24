/** The images as thumbnails, with filters, search and progress. */

import { fill, get, make } from "./dom.js";
import { Sorting } from "./sorting.js";
import { Thumbs } from "./thumbs.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").Summary} Summary */

const PART = 90; // thumbnails that are made at a time

/** @type {Record<string, [string, (image: Summary) => boolean]>} */
const STATUS = {
  all: ["All images", () => true],
  todo: ["Unlabelled", (image) => !image.broken && image.done === 0],
  part: ["Partly labelled", (image) => image.done > 0 && image.done < image.total],
  done: ["Labelled", (image) => image.total > 0 && image.done >= image.total],
  open: ["Not finished", (image) => !image.broken && image.done < image.total],
  doubtful: ["Doubtful", (image) => image.doubtful],
  note: ["With a note", (image) => image.note !== ""],
  broken: ["Not readable", (image) => image.broken !== ""],
};

/** @param {Summary} image @returns {"broken" | "done" | "part" | "todo"} */
export function statusOf(image) {
  if (image.broken) return "broken";
  if (image.total > 0 && image.done >= image.total) return "done";
  return image.done ? "part" : "todo";
}

export class Grid {
  /** @param {Store} store @param {(id: number) => void} open @param {import("./proposals.js").Proposals} proposals */
  constructor(store, open, proposals) {
    this.store = store;
    this.sorting = new Sorting(store, proposals, () => this.refresh());
    this.open = open;
    this.filter = get("filter", HTMLSelectElement);
    this.search = get("search", HTMLInputElement);
    this.list = get("images");
    this.thumbs = new Thumbs(this.list);
    /** @type {number[]} */
    this.shown = [];
    /** @type {Map<number, HTMLElement>} */
    this.cards = new Map();
    this.end = make("li", { class: "end", "aria-hidden": "true" });
    new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && this.more()).observe(this.end);
    this.filter.onchange = () => this.refresh();
    this.search.oninput = () => this.refresh();
    store.addEventListener("set", () => this.refresh(true));
    store.addEventListener("image", () => this.mark());
    store.addEventListener("summary", (event) => this.update(/** @type {CustomEvent} */ (event).detail));
  }

  /** Filters for what the images say, beside those by status. */
  options() {
    const { images } = this.store.set;
    const count = (/** @type {(image: Summary) => boolean} */ test) => images.filter(test).length;
    /** @type {Record<string, [string, string][]>} */
    const groups = { "": [] };
    for (const [value, [text, test]] of Object.entries(STATUS)) {
      const found = count(test);
      if (found || value === "all" || value === "todo" || value === "done") groups[""].push([value, `${text} (${found})`]);
    }
    for (const key of /** @type {const} */ (["split", "annotator", "subject"])) {
      const values = [...new Set(images.map((image) => image[key]))].filter(Boolean).sort().slice(0, 200);
      const title = key[0].toUpperCase() + key.slice(1);
      groups[title] = values.map((value) => [`${key}:${value}`, value]);
    }
    fill(this.filter, groups);
  }

  /** @param {Summary} image */
  passes(image) {
    const [key, ...rest] = this.filter.value.split(":");
    const wanted = rest.join(":");
    const kept = STATUS[key] ? STATUS[key][1](image) : image[/** @type {"split"} */ (key)] === wanted;
    const text = this.search.value.trim().toLowerCase();
    return kept && (!text || `${image.name} ${image.subject} ${image.note}`.toLowerCase().includes(text));
  }

  /** Make the list anew, from its top or as far as the open image. @param {boolean} [far] */
  refresh(far = false) {
    if (!this.store.set) return;
    this.options();
    const passing = this.store.set.images.filter((image) => this.passes(image)).map((image) => image.id);
    this.shown = this.sorting.sorted(passing);
    this.cards.clear();
    this.thumbs.clear();
    this.list.replaceChildren(this.end);
    const at = this.shown.indexOf(this.store.image);
    do this.more();
    while (far && this.cards.size <= at && this.cards.size < this.shown.length);
    this.list.scrollTop = 0;
    get("found").textContent = this.shown.length === 1 ? "1 image" : `${this.shown.length} images`;
    this.mark(far);
  }

  more() {
    const from = this.cards.size;
    for (const id of this.shown.slice(from, from + PART)) {
      const card = this.card(this.store.set.images[id]);
      this.cards.set(id, card);
      this.end.before(card);
    }
    this.end.hidden = this.cards.size >= this.shown.length;
  }

  /** @param {Summary} image */
  card(image) {
    const picture = make("img", { alt: "", decoding: "async", draggable: "false", fetchpriority: "low" });
    const bar = make("span", { class: "bar" }, make("i"));
    const words = this.sorting.words(image.id);
    const name = make("span", { class: "name" }, words ? `${words} · ${image.name}` : image.name);
    const button = make("button", { type: "button", click: () => this.open(image.id) }, picture, bar, name);
    const card = make("li", {}, button);
    this.dress(card, image);
    return card;
  }

  /** @param {HTMLElement} card @param {Summary} image */
  dress(card, image) {
    const status = statusOf(image);
    card.dataset.status = status;
    card.classList.toggle("doubtful", image.doubtful);
    const picture = /** @type {HTMLImageElement} */ (card.querySelector("img"));
    const address = `/api/images/${image.id}/thumbnail?v=${this.store.set.began}-${image.revision}`;
    if (!image.broken) this.thumbs.show(picture, address);
    if (image.broken) picture.removeAttribute("src");
    const share = image.total ? Math.min(1, image.done / image.total) : 0;
    /** @type {HTMLElement} */ (card.querySelector("i")).style.width = `${100 * share}%`;
    const words = { broken: `not readable: ${image.broken}`, done: "labelled", part: `${image.done} of ${image.total}`, todo: "unlabelled" };
    const button = /** @type {HTMLElement} */ (card.firstElementChild);
    button.title = `${image.name}\n${words[status]}${image.note ? `\n${image.note}` : ""}`;
    button.setAttribute("aria-label", `${image.name}, ${words[status]}${image.doubtful ? ", doubtful" : ""}`);
  }

  /** @param {number} id */
  update(id) {
    const card = this.cards.get(id);
    if (card) this.dress(card, this.store.set.images[id]);
    this.options();
    this.progress();
  }

  /** Mark the open image. @param {boolean} [reveal] and bring it into sight */
  mark(reveal = true) {
    for (const [id, card] of this.cards) {
      const open = id === this.store.image;
      if (card.classList.contains("open") !== open) {
        card.classList.toggle("open", open);
        card.firstElementChild?.setAttribute("aria-current", String(open));
      }
    }
    if (reveal) this.cards.get(this.store.image)?.scrollIntoView({ block: "nearest" });
    const suspect = this.sorting.suspect(this.store.image);
    get("suspect").hidden = !suspect;
    get("suspect").textContent = suspect ? `Likely ${suspect}` : "";
    this.progress();
  }

  progress() {
    const { images } = this.store.set;
    const readable = images.filter((image) => !image.broken);
    const done = readable.filter((image) => statusOf(image) === "done").length;
    const share = readable.length ? done / readable.length : 0;
    get("progress-bar").style.width = `${100 * share}%`;
    const { pace } = this.store.history;
    const left = readable.length - done;
    const told = pace && pace >= 1 && left ? ` · ${pace < 90 ? `${Math.round(pace)} s` : `${Math.round(pace / 60)} min`} each, ${span(pace * left)} left` : "";
    get("progress").replaceChildren(`${done} of ${readable.length}`, make("span", { class: "wide" }, ` labelled${told}`));
  }

  /**
   * The next image of the list that a test likes, before or after the open one; -1 for none.
   *
   * @param {number} step 1 or -1
   * @param {(image: Summary) => boolean} [test]
   * @param {boolean} [around] go on at the other end
   */
  beside(step, test = (image) => !image.broken, around = false) {
    const { images } = this.store.set;
    const order = this.shown.length ? this.shown : images.map((image) => image.id);
    const at = order.indexOf(this.store.image);
    for (let i = 1; i <= order.length; i += 1) {
      const place = at < 0 ? (step > 0 ? i - 1 : order.length - i) : at + step * i;
      if (!around && (place < 0 || place >= order.length)) return -1;
      const id = order[((place % order.length) + order.length) % order.length];
      if (id !== this.store.image && test(images[id])) return id;
    }
    return -1;
  }
}

/** A length of time for people. @param {number} seconds */
function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
