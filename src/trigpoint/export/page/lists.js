/** The list of images, and that of the landmarks of one. */

import { get, make } from "./dom.js";
import { hue } from "./colours.js";
import { same } from "./store.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./store.js").Item} Item */

export class Lists {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    /** @type {Map<Item, HTMLButtonElement>} */
    this.buttons = new Map();
    store.addEventListener("items", () => this.showItems());
    store.addEventListener("image", () => {
      this.showItems();
      this.showPoints();
      this.buttons.get(/** @type {Item} */ (store.item))?.scrollIntoView({ block: "nearest" });
    });
    for (const kind of ["points", "selection"]) store.addEventListener(kind, () => this.showPoints());
    store.addEventListener("points", () => this.showItems());
  }

  showItems() {
    const { store, buttons } = this;
    const list = get("images");
    for (const item of store.items) {
      let button = buttons.get(item);
      if (!button) {
        const name = make("span", { class: "name", title: item.name }, item.name);
        button = make("button", { type: "button", click: () => store.open(item) }, name, make("span", { class: "state" }));
        buttons.set(item, button);
        list.append(make("li", {}, button));
      }
      const corrected = store.corrected(item);
      const done = corrected ? `${corrected} corrected` : item.flag?.text || "found";
      const state = { waiting: "waiting", refused: item.text, done }[item.state];
      const text = /** @type {HTMLElement} */ (button.lastChild);
      if (text.textContent !== state) text.textContent = state;
      button.dataset.state = item.state !== "done" ? item.state : corrected ? "corrected" : item.flag?.kind ? "flagged" : "done";
      button.toggleAttribute("aria-current", item === store.item);
      if (item === store.item) button.setAttribute("aria-current", "true");
    }
  }

  showPoints() {
    const { store } = this;
    const { item, about } = store;
    const several = about.threshold !== null;
    get("instances").hidden = !several || item?.state !== "done";
    if (several) this.showRows();
    const row = store.current;
    get("title").textContent = item?.name ?? "";
    get("size").textContent = item?.width ? `${item.width} × ${item.height}` : "";
    const nothing = item?.state === "done" ? "No instance was found." : (item?.text && `This image ${item.text}`) || "Waiting.";
    get("nothing").textContent = item && !row ? nothing : "";
    get("flag").textContent = item?.flag?.text ?? "";
    const focused = document.activeElement?.closest("#landmarks") ? store.active : -1;
    get("landmarks").replaceChildren(...(row ? about.landmarks.map((name, k) => this.landmark(name, k)) : []));
    if (focused >= 0) /** @type {HTMLElement | null} */ (get("landmarks").children[focused]?.firstChild)?.focus();
    get("reset", HTMLButtonElement).disabled = !row || same(row.points[store.active], row.found[store.active]);
    get("remove", HTMLButtonElement).disabled = !row?.points[store.active];
  }

  /** @param {string} name @param {number} k */
  landmark(name, k) {
    const { store } = this;
    const row = /** @type {import("./store.js").Row} */ (store.current);
    const point = row.points[k];
    const byHand = !same(point, row.found[k]);
    const dot = make("i", { class: "dot" });
    dot.style.background = hue(k);
    const score = Number.isFinite(row.scores[k]) ? `score ${row.scores[k].toFixed(2)}` : "";
    const radius = Number.isFinite(row.radius[k]) ? ` ± ${row.radius[k].toFixed(1)}` : "";
    const where = point ? `${point[0].toFixed(1)}, ${point[1].toFixed(1)}${byHand ? "" : radius}` : "none";
    const how = byHand ? (point ? "by hand" : "removed") : point ? score : "click to set";
    const active = k === store.active;
    const choose = () => store.choose(store.row, k);
    const parts = [dot, make("span", { class: "name" }, name), make("span", { class: "where" }, where), make("span", { class: "how" }, how)];
    return make("li", {}, make("button", { type: "button", click: choose, "aria-pressed": String(active) }, ...parts));
  }

  showRows() {
    const { store } = this;
    const select = get("instance", HTMLSelectElement);
    const rows = store.item?.rows ?? [];
    select.replaceChildren(...rows.map((_, i) => make("option", { value: i, selected: i === store.row }, `${i + 1} of ${rows.length}`)));
  }
}
