/** Puts the page together. */

import { ask, listen } from "./api.js";
import { showHelp } from "./dialogs.js";
import { get, make } from "./dom.js";
import { Grid } from "./grid.js";
import { Input } from "./input.js";
import { Keys } from "./keys.js";
import { keysOf, placeNext } from "./actions.js";
import { Loupe } from "./loupe.js";
import { showLandmarks } from "./naming.js";
import { Overlay } from "./overlay.js";
import { Panel } from "./panel.js";
import { Proposals } from "./proposals.js";
import { Store } from "./store.js";
import { Tones } from "./tones.js";
import { Viewer } from "./viewer.js";

const store = new Store();
const place = get("viewer");
const viewer = new Viewer(get("osd"));
const proposals = new Proposals(store);
const overlay = new Overlay(viewer, store, get("overlay", HTMLCanvasElement), proposals);
const loupe = new Loupe(viewer, get("loupe", HTMLCanvasElement));
const input = new Input(place, viewer, store, overlay, loupe);
const tones = new Tones(viewer, store);
const panel = new Panel(store, viewer, proposals);
const grid = new Grid(store, (id) => open(id), proposals);
const parts = { store, place, viewer, overlay, loupe, input, tones, panel, grid, proposals, open, toggleTheme };
const keys = new Keys(keysOf(parts, () => showHelp(keys)));
Object.assign(window, { trigpoint: parts }); // for the tests of this page

/** @typedef {typeof parts} Parts */

/** Show an image. @param {number} id */
async function open(id) {
  if (id < 0) return;
  try {
    await store.open(id);
    document.body.classList.remove("list");
  } catch (error) {
    store.notice(/** @type {Error} */ (error).message, "warning");
  }
}

async function show() {
  const { image } = store;
  const summary = store.set.images[image];
  loupe.hide();
  viewer.leave();
  get("title").textContent = summary.name;
  document.title = `${summary.name} · ${store.set.name}`;
  get("place").textContent = `${image + 1} / ${store.set.images.length}`;
  history.replaceState(null, "", `?image=${image}`);
  get("broken").hidden = true;
  try {
    const address = `/api/images/${image}`;
    const picture = await ask("GET", `${address}/picture`);
    if (image === store.image) viewer.open(picture, `${address}/tiles`, store.set.began);
  } catch (error) {
    if (image !== store.image) return;
    viewer.close();
    get("broken").hidden = false;
    get("broken-why").textContent = /** @type {Error} */ (error).message;
  }
}

/** Let the next image be decoded while this one is labelled. */
function prepare() {
  const next = grid.beside(1);
  if (next >= 0) ask("GET", `/api/images/${next}/picture`).catch(() => undefined);
}

function saving() {
  const state = store.problem ? "failed" : store.unsaved.size ? "saving" : "saved";
  const words = { failed: `Not saved: ${store.problem}; trying again`, saving: "Saving…", saved: "Saved" };
  const status = get("saved");
  status.dataset.state = store.readOnly ? "reading" : state;
  status.textContent = store.readOnly ? "Read only" : words[state];
}

function buttons() {
  const { undo, redo } = store.history;
  get("undo", HTMLButtonElement).disabled = !undo || store.readOnly;
  get("redo", HTMLButtonElement).disabled = !redo || store.readOnly;
  for (const id of ["naming-open", "naming-edit"]) get(id, HTMLButtonElement).disabled = store.readOnly;
}

/** @param {{text: string, weight: string}} notice */
function notice({ text, weight }) {
  const shown = make("p", { class: `notice ${weight}` }, text);
  get("notices").append(shown);
  setTimeout(() => shown.remove(), weight === "warning" ? 12000 : 5000);
  while (get("notices").childElementCount > 4) get("notices").firstElementChild?.remove();
}

/** Say for screen readers where the selected landmark is. */
function speak() {
  const mark = store.active ? store.mark(store.active) : undefined;
  const where = Array.isArray(mark) ? `${store.active}: ${mark[0].toFixed(1)}, ${mark[1].toFixed(1)}` : "";
  get("spoken").textContent = `${where}${store.next ? ` Next: ${store.next}` : ""}`;
}

/** @param {string} [wanted] */
function toggleTheme(wanted) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  const next = wanted ?? (now === "dark" ? "light" : "dark");
  document.documentElement.dataset.theme = next;
  localStorage.setItem("trigpoint-theme", next);
}

function bind() {
  store.addEventListener("image", show);
  store.addEventListener("set", () => (get("set").textContent = store.set.name));
  for (const kind of ["set", "saving", "summary", "state"]) {
    store.addEventListener(kind, () => {
      saving();
      buttons();
    });
  }
  store.addEventListener("notice", (event) => notice(/** @type {CustomEvent} */ (event).detail));
  store.addEventListener("selection", speak);
  store.addEventListener("unnamed", () => showLandmarks(store));
  viewer.addEventListener("opened", prepare);
  viewer.addEventListener("view", () => {
    get("zoom").textContent = `${Math.round(viewer.scale * devicePixelRatio * 100)} %`;
  });
  viewer.addEventListener("failed", (event) => store.notice(/** @type {CustomEvent} */ (event).detail, "warning"));
  get("undo").onclick = () => store.step("undo");
  get("redo").onclick = () => store.step("redo");
  get("previous").onclick = () => open(grid.beside(-1));
  get("following").onclick = () => open(grid.beside(1));
  get("go-on").onclick = () => placeNext(parts);
  get("fit").onclick = () => viewer.fit();
  get("zoom").onclick = () => viewer.zoomTo(1);
  get("zoom-in").onclick = () => viewer.zoomBy(1.5);
  get("zoom-out").onclick = () => viewer.zoomBy(1 / 1.5);
  get("theme").onclick = () => toggleTheme();
  get("help-open").onclick = () => showHelp(keys);
  for (const id of ["naming-open", "naming-edit"]) get(id).onclick = () => showLandmarks(store);
  get("list-open").onclick = () => document.body.classList.toggle("list");
  for (const dialog of document.querySelectorAll("dialog")) {
    for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => dialog.close());
  }
  window.addEventListener("beforeunload", (event) => {
    if (store.unsaved.size) event.preventDefault();
  });
  new ResizeObserver(() => overlay.draw()).observe(place);
}

async function begin() {
  const kept = localStorage.getItem("trigpoint-theme");
  if (kept) toggleTheme(kept);
  bind();
  try {
    await store.load();
  } catch (error) {
    notice({ text: /** @type {Error} */ (error).message, weight: "warning" });
    return;
  }
  for (const text of store.set.notes) store.notice(text);
  listen(
    (event) => store.told(event),
    (connected) => {
      const back = connected && document.body.classList.contains("offline");
      document.body.classList.toggle("offline", !connected);
      if (back) store.again().catch((error) => store.notice(error.message, "warning"));
    },
  );
  proposals.begin();
  const query = new URLSearchParams(location.search);
  const named = query.get("name");
  const asked = named ? store.set.images.findIndex((image) => image.name === named) : Number(query.get("image") ?? NaN);
  if (asked === -1) store.notice(`There is no image ${named} in this set.`, "warning");
  const first = store.set.images.findIndex((image) => !image.broken && image.done < image.total);
  await open(Number.isInteger(asked) && store.set.images[asked] ? asked : Math.max(0, first));
  if (!store.landmarks.length && !store.readOnly) showLandmarks(store);
}

begin();
