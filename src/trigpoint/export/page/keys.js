/** Every key, in one table: what it does, and what the help says of it. */

import { get, make } from "./dom.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./view.js").View} View */
/** @typedef {{store: Store, view: View, beside: (way: 1 | -1) => void, save: () => void, theme: () => void}} Parts */
/** @typedef {[string, string, (event: KeyboardEvent) => void]} Key as `event.key` with Ctrl+ before it, words, act */

/** @type {Key[]} */
const KEYS = [];
const ARROWS = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] });
const SHOWN = [["← → ↑ ↓", "Move the landmark by a pixel of the screen; with Shift by ten, with Alt by a tenth"]];

/** @param {Parts} parts */
export function useKeys({ store, view, beside, save, theme }) {
  /** @param {number} way */
  const next = (way) => {
    const count = store.about.landmarks.length;
    store.choose(store.row, (store.active + way + count) % count);
  };
  KEYS.push(
    ["PageDown", "Next image", () => beside(1)],
    ["PageUp", "Image before", () => beside(-1)],
    ["n", "Next landmark", () => next(1)],
    ["b", "Landmark before", () => next(-1)],
    ["r", "The landmark as the model found it", () => store.move(store.current?.found[store.active] ?? null)],
    ["Delete", "Remove the landmark; a click sets it again", () => store.move(null)],
    ["Ctrl+z", "Undo", () => store.step("undo")],
    ["Ctrl+y", "Redo", () => store.step("redo")],
    ["Ctrl+s", "Save the table", () => (get("save", HTMLButtonElement).disabled ? undefined : save())],
    ["+", "Nearer", () => view.zoom(1.5)],
    ["-", "Farther", () => view.zoom(1 / 1.5)],
    ["0", "The whole image", () => view.fit()],
    ["t", "Light or dark", () => theme()],
    ["?", "These keys", () => showHelp()],
  );
  document.addEventListener("keydown", (event) => pressed(event, store, view));
}

/** @param {KeyboardEvent} event @param {Store} store @param {View} view */
function pressed(event, store, view) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (document.querySelector("dialog[open]") || ["SELECT", "INPUT"].includes(target.tagName)) return;
  const way = ARROWS[event.key];
  const point = store.current?.points[store.active];
  if (way && point && !event.ctrlKey && !event.metaKey) {
    const step = (event.shiftKey ? 10 : event.altKey ? 0.1 : 1) / view.scale;
    event.preventDefault();
    store.move([point[0] + way[0] * step, point[1] + way[1] * step]);
    return;
  }
  const name = (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
  const key = KEYS.find(([one]) => one === name);
  if (!key) return;
  event.preventDefault();
  key[2](event);
}

export function showHelp() {
  const rows = [...SHOWN, ...KEYS.map(([name, text]) => [name.length === 1 ? name.toUpperCase() : name.replace("+z", "+Z").replace("+y", "+Y").replace("+s", "+S"), text])];
  get("keys").replaceChildren(...rows.map(([name, text]) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, name)), make("td", {}, text))));
  get("help-dialog", HTMLDialogElement).showModal();
}
