/** The page: takes images one after another, shows them, and writes the table. */

import { Detector, unpacked } from "./detector.js";
import { get, make } from "./dom.js";
import { chosen, dropped, images } from "./files.js";
import { showHelp, useKeys } from "./keys.js";
import { Lists } from "./lists.js";
import { Store } from "./store.js";
import { tableText } from "./table.js";
import { View } from "./view.js";

/** @typedef {import("./files.js").Given} Given */
/** @typedef {import("./store.js").Item} Item */

const about = /** @type {import("./types.js").About} */ (JSON.parse(get("about").textContent ?? ""));
const store = new Store(about);
const detector = new Detector();
const view = new View(store, get("stage"), get("canvas", HTMLCanvasElement));
let [working, ready, seconds] = [false, false, 0];

/** @param {string} text @param {boolean} [warning] */
function say(text, warning = false) {
  const box = get("notice");
  box.textContent = text;
  box.hidden = !text;
  box.classList.toggle("warning", warning);
}

/** @param {Given[]} given */
async function take(given) {
  const { kept, passed } = await images(given);
  const twice = store.add(kept);
  const told = [];
  if (passed) told.push(`Passed over ${passed} other file${passed > 1 ? "s" : ""}.`);
  if (twice) told.push(`${twice} image${twice > 1 ? "s are" : " is"} in the list already.`);
  if (!kept.length && !passed) told.push("There are no files in it.");
  say(told.join(" "));
  if (!store.item && store.items.length) store.open(store.items[0]);
  await work();
}

/** Find the landmarks of all images that wait, the open one first. */
async function work() {
  if (working || !ready) return;
  working = true;
  for (let item = following(); item; item = following()) {
    const start = performance.now();
    progress();
    try {
      store.found(item, await detector.find(item.file));
      seconds += (performance.now() - start) / 1000;
    } catch (error) {
      store.refuse(item, /** @type {Error} */ (error).message);
      if (item === store.item) store.emit("points");
    }
  }
  working = false;
  progress();
  get("unlike").textContent = store.unlike();
  get("unlike").hidden = !get("unlike").textContent;
}

function following() {
  return store.item?.state === "waiting" ? store.item : store.items.find((item) => item.state === "waiting");
}

function progress() {
  const total = store.items.length;
  const [waiting, done, refused] = ["waiting", "done", "refused"].map((state) => store.items.filter((item) => item.state === state).length);
  const bar = get("bar", HTMLProgressElement);
  bar.hidden = !waiting;
  bar.max = Math.max(1, total);
  bar.value = total - waiting;
  const left = done && waiting ? `, about ${duration((seconds / done) * waiting)} left` : "";
  const not = refused ? `, ${refused} could not be read` : "";
  const flagged = store.items.filter((item) => item.flag?.kind).length;
  const look = flagged ? `, ${flagged} to look at` : "";
  get("progress").textContent = total ? `${done} of ${total} images done${look}${not}${left}` : "";
  get("save", HTMLButtonElement).disabled = !done;
}

/** @param {number} time seconds */
const duration = (time) => (time < 90 ? `${Math.ceil(time)} s` : `${Math.ceil(time / 60)} min`);

async function show() {
  const { item } = store;
  document.body.classList.toggle("empty", !item);
  view.open(null);
  if (!item) return;
  try {
    const bitmap = item.state === "refused" ? null : await detector.show(item.file);
    if (item === store.item) view.open(bitmap);
  } catch (error) {
    if (item.state !== "refused") store.refuse(item, /** @type {Error} */ (error).message);
    if (item === store.item) store.emit("points");
  }
}

function save() {
  const place = URL.createObjectURL(new Blob([tableText(store)], { type: "text/csv" }));
  make("a", { href: place, download: "predictions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(place), 60_000);
  store.saved = true;
  say("Saved predictions.csv in your downloads. Put it beside the images: trigpoint then finds them by their names.");
}

/** @param {1 | -1} way */
function beside(way) {
  const { items, item } = store;
  const at = items.indexOf(/** @type {Item} */ (item)) + way;
  if (items[at]) store.open(items[at]);
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

async function showAbout() {
  const dialog = get("about-dialog", HTMLDialogElement);
  if (!get("facts").children.length) {
    for (const [name, text] of about.facts) get("facts").append(make("dt", {}, name), make("dd", {}, text));
    get("notices").textContent = new TextDecoder().decode(await unpacked("notices-packed"));
  }
  dialog.showModal();
  dialog.scrollTop = 0; // the first that takes the focus is at its end
}

function bindFiles() {
  for (const id of ["files", "folder"]) {
    const input = get(id, HTMLInputElement);
    input.addEventListener("change", () => {
      const given = chosen(/** @type {FileList} */ (input.files));
      input.value = "";
      take(given);
    });
    for (const button of document.querySelectorAll(`[data-choose="${id}"]`)) button.addEventListener("click", () => input.click());
  }
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  for (const kind of ["dragleave", "drop"]) document.addEventListener(kind, () => document.body.classList.remove("over"));
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    if (event.dataTransfer) take(await dropped(event.dataTransfer));
  });
}

function bind() {
  bindFiles();
  store.addEventListener("image", show);
  store.addEventListener("items", progress);
  store.addEventListener("points", () => {
    get("undo", HTMLButtonElement).disabled = !store.done.length;
    get("redo", HTMLButtonElement).disabled = !store.undone.length;
  });
  get("save").onclick = save;
  get("undo").onclick = () => store.step("undo");
  get("redo").onclick = () => store.step("redo");
  get("previous").onclick = () => beside(-1);
  get("following").onclick = () => beside(1);
  get("fit").onclick = () => view.fit();
  get("zoom-in").onclick = () => view.zoom(1.5);
  get("zoom-out").onclick = () => view.zoom(1 / 1.5);
  get("theme").onclick = theme;
  get("reset").onclick = () => store.move(store.current?.found[store.active] ?? null);
  get("remove").onclick = () => store.move(null);
  get("instance").onchange = () => store.choose(Number(get("instance", HTMLSelectElement).value), store.active);
  get("instance-add").onclick = () => store.addRow();
  get("about-open").onclick = showAbout;
  get("help-open").onclick = () => showHelp();
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog")?.close());
  useKeys({ store, view, beside, save, theme });
  window.addEventListener("beforeunload", (event) => {
    if (!store.saved) event.preventDefault();
  });
}

async function begin() {
  new Lists(store);
  bind();
  say("Opening the detector …");
  try {
    await detector.begin(about);
  } catch (error) {
    document.body.classList.add("broken");
    say(/** @type {Error} */ (error).message, true);
    return;
  }
  ready = true;
  if (!store.items.length) say("");
  document.body.classList.add("ready");
  if (store.item) show();
  await work();
}

Object.assign(window, { trigpoint: { store, view, detector, idle: () => ready && !working } });
begin();
