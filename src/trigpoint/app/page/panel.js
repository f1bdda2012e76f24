/** Beside the image: what is placed next and where it lies, the landmarks, objects, and notes of the image. */

import { ask } from "./api.js";
import { hue } from "./colours.js";
import { get, make } from "./dom.js";
import { dress } from "./marks.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./viewer.js").Viewer} Viewer */
/** @typedef {import("./types.js").Mark} Mark */
/** @typedef {{id: number, name: string, x: number, y: number, revision: number, width: number, height: number}} Example */

const SPLITS = ["train", "val", "test"];
const REST = 600; // ms after the last letter until a note is saved

export class Panel {
  /** @param {Store} store @param {Viewer} viewer @param {import("./proposals.js").Proposals} proposals */
  constructor(store, viewer, proposals) {
    this.store = store;
    this.proposals = proposals;
    proposals.addEventListener("changed", () => this.later());
    this.viewer = viewer;
    /** @type {Map<string, Promise<Example | null>>} */
    this.examples = new Map();
    this.shown = "";
    /** @type {Map<string, HTMLElement>} */
    this.items = new Map();
    for (const kind of ["state", "selection", "set", "image"]) store.addEventListener(kind, () => this.later());
    store.addEventListener("image", () => this.examples.clear());
    this.waiting = false;
    this.bind();
  }

  /** Update once, with the next picture of the screen: a drag changes the state often. */
  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.update();
    });
  }

  bind() {
    const { store } = this;
    get("skip").onclick = () => store.skip();
    get("gone").onclick = () => this.setNext("absent");
    get("visible").onclick = () => this.setSeen(2);
    get("occluded").onclick = () => this.setSeen(1);
    get("absent").onclick = () => this.setActive("absent");
    get("remove").onclick = () => this.setActive(undefined);
    get("add-object").onclick = () => store.addRow();
    get("no-objects").onclick = () => store.noObjects();
    const note = get("note", HTMLTextAreaElement);
    note.oninput = () => {
      store.edit((state) => (state.note = note.value.trim()), true);
      store.timer = setTimeout(() => store.flush(), REST);
    };
    note.onchange = () => store.flush();
    const doubtful = get("doubtful", HTMLInputElement);
    doubtful.onchange = () => store.edit((state) => (state.doubtful = doubtful.checked));
    for (const id of /** @type {const} */ (["subject", "split"])) {
      const field = get(id, HTMLInputElement);
      field.onchange = () => store.edit((state) => (state[id] = field.value.trim()));
    }
  }

  /** Decide the next landmark without a place. @param {Mark} mark */
  setNext(mark) {
    const name = this.store.next;
    if (name) this.store.setMarks({ [name]: mark });
    this.store.emit("selection");
  }

  /** @param {Mark | undefined} mark */
  setActive(mark) {
    const { store } = this;
    const name = store.active;
    if (!name) return;
    store.setMarks({ [name]: mark });
    store.active = mark === undefined ? "" : name;
    store.wanted = mark === undefined ? name : "";
    store.chosen = false;
    store.emit("selection");
  }

  /** @param {1 | 2} seen */
  setSeen(seen) {
    const mark = this.store.mark(this.store.active);
    if (Array.isArray(mark)) this.store.setMarks({ [this.store.active]: [mark[0], mark[1], seen] });
  }

  /** What the key for "not there" means: the landmark that was chosen, else the next one. */
  absent() {
    const { store } = this;
    if (store.active && (store.chosen || !store.next)) this.setActive("absent");
    else this.setNext("absent");
  }

  update() {
    if (!this.store.set || this.store.image < 0) return;
    this.updateNext();
    this.updateActive();
    this.updateList();
    this.updateObjects();
    this.updateAbout();
  }

  updateNext() {
    const { store } = this;
    const { next } = store;
    const total = store.landmarks.length;
    const done = total - store.left.length;
    get("next-card").classList.toggle("done", !next);
    get("next-count").textContent = total ? `${done} of ${total}` : "";
    get("next-name").textContent = next || (total ? "All set" : "No landmarks yet");
    if (next) dress(get("next-dot"), store.landmarks.indexOf(next));
    get("next-dot").hidden = !next;
    get("next-hint").textContent = next
      ? this.hint(next)
      : total
        ? "Go on with the next image to label."
        : "Name the landmarks to begin.";
    get("next-buttons").hidden = !next || store.readOnly;
    get("go-row").hidden = Boolean(next) || !total;
    this.updateExample(next);
  }

  /** What to do with a landmark that is left. @param {string} landmark */
  hint(landmark) {
    const { proposals } = this;
    const proposed = proposals.open.some(([name]) => name === landmark);
    return proposed ? "Click where it is, or accept its proposal." : "Click where it is.";
  }

  /** @param {string} landmark */
  async updateExample(landmark) {
    const figure = get("example");
    const key = `${landmark}/${this.store.image}`;
    if (key === this.shown) return;
    this.shown = key;
    const found = landmark ? await this.example(landmark) : null;
    if (this.shown !== key) return;
    figure.hidden = !found;
    if (!found) return;
    const half = Math.max(found.width, found.height) / 10;
    const address = `/api/images/${found.id}`;
    const version = `${this.store.set.began}-${found.revision}`;
    get("example-whole", HTMLImageElement).src = `${address}/thumbnail?v=${version}`;
    get("example-near", HTMLImageElement).src = `${address}/detail?x=${found.x}&y=${found.y}&half=${half}&v=${version}`;
    const ring = get("example-ring");
    ring.style.left = `${(100 * (found.x + 0.5)) / found.width}%`;
    ring.style.top = `${(100 * (found.y + 0.5)) / found.height}%`;
    ring.style.borderColor = hue(this.store.landmarks.indexOf(landmark));
    get("example-text").textContent = `on ${found.name}`;
  }

  /** Where a landmark lies on another image. @param {string} landmark @returns {Promise<Example | null>} */
  example(landmark) {
    const key = `${landmark}/${this.store.image}`;
    const known = this.examples.get(key);
    if (known) return known;
    const wanted = (async () => {
      try {
        const query = new URLSearchParams({ landmark, besides: String(this.store.image) });
        const found = await ask("GET", `/api/example?${query}`);
        if (found.id === undefined) return null;
        const { width, height } = await ask("GET", `/api/images/${found.id}/picture`);
        return { ...found, width, height };
      } catch {
        return null;
      }
    })();
    this.examples.set(key, wanted);
    return wanted;
  }

  updateActive() {
    const { store } = this;
    const mark = store.active ? store.mark(store.active) : undefined;
    get("active-card").hidden = mark === undefined;
    if (mark === undefined) return;
    get("active-name").textContent = store.active;
    dress(get("active-dot"), store.landmarks.indexOf(store.active));
    const place = Array.isArray(mark) ? `x ${mark[0].toFixed(2)}   y ${mark[1].toFixed(2)}` : "not there";
    get("active-place").textContent = place;
    const seen = Array.isArray(mark) ? mark[2] : 0;
    const states = { visible: seen === 2, occluded: seen === 1, absent: mark === "absent" };
    for (const [id, on] of Object.entries(states)) {
      const button = get(id, HTMLButtonElement);
      button.setAttribute("aria-pressed", String(on));
      button.disabled = store.readOnly || (id !== "absent" && !Array.isArray(mark));
    }
    get("remove", HTMLButtonElement).disabled = store.readOnly;
  }

  updateList() {
    const { store } = this;
    const list = get("landmarks");
    if (this.items.size !== store.landmarks.length || [...this.items.keys()].some((n, i) => n !== store.landmarks[i])) {
      this.items = new Map(store.landmarks.map((name, k) => [name, this.item(name, k)]));
      list.replaceChildren(...this.items.values());
    }
    const sticks = getComputedStyle(get("next-card")).position === "sticky"; // else it would be scrolled away
    for (const [name, item] of this.items) {
      const mark = store.mark(name);
      const kind = mark === undefined ? "todo" : mark === "absent" ? "absent" : mark[2] === 1 ? "occluded" : "placed";
      const error = this.proposals.shown ? this.proposals.error(name) : null;
      const plain = { todo: "to do", absent: "not there", occluded: "occluded", placed: "placed" }[kind];
      const words = error === null ? plain : `${error.toFixed(1)} px`;
      const button = /** @type {HTMLElement} */ (item.firstElementChild);
      item.dataset.kind = kind;
      const now = name === store.active ? "active" : name === store.next ? "next" : "";
      if (item.dataset.now !== now) {
        item.dataset.now = now;
        if (now === "next" && sticks) item.scrollIntoView({ block: "nearest" });
      }
      button.setAttribute("aria-current", String(now === "active"));
      button.setAttribute("aria-label", `${name} ${words}`);
      /** @type {HTMLElement} */ (button.lastElementChild).textContent = words;
    }
  }

  /** @param {string} name @param {number} k */
  item(name, k) {
    const dot = make("span", { class: "dot" });
    dress(dot, k);
    const choose = () => {
      this.store.choose(name);
      const mark = this.store.mark(name);
      if (Array.isArray(mark)) this.viewer.reveal(mark[0], mark[1]);
    };
    const words = make("span", { class: "state" });
    const button = make("button", { type: "button", click: choose }, dot, make("span", { class: "name" }, name), words);
    return make("li", {}, button);
  }

  updateObjects() {
    const { store } = this;
    get("objects-card").hidden = !store.set.instances;
    if (!store.set.instances) return;
    const tabs = store.state.rows.map((row, index) => {
      const choose = () => {
        store.row = index;
        store.active = store.wanted = "";
        store.emit("selection");
      };
      const none = row.instance === "" && store.landmarks.every((name) => row.marks[name] === "absent");
      const title = none ? "none" : row.instance || "unnamed";
      const name = make("button", { type: "button", "aria-pressed": String(index === store.row), click: choose }, title);
      const words = { type: "button", class: "quiet", "aria-label": `Remove object ${title}`, title: "Remove" };
      const away = make("button", { ...words, click: () => store.removeRow(index) }, "×");
      return make("span", { class: "object" }, name, away);
    });
    get("objects").replaceChildren(...tabs);
  }

  updateAbout() {
    const { store } = this;
    const { state } = store;
    const fields = { note: state.note, subject: state.subject, split: state.split };
    for (const [id, value] of Object.entries(fields)) {
      const field = /** @type {HTMLInputElement} */ (get(id));
      if (document.activeElement !== field) field.value = value;
      field.disabled = store.readOnly;
    }
    const doubtful = get("doubtful", HTMLInputElement);
    doubtful.checked = state.doubtful;
    doubtful.disabled = store.readOnly;
    const known = new Set([...SPLITS, ...store.set.images.map((image) => image.split).filter(Boolean)]);
    const options = get("splits");
    if (options.childElementCount !== known.size) {
      options.replaceChildren(...[...known].map((value) => make("option", { value })));
    }
  }
}
