/** The dialog of the landmarks: names, new ones, those to take away, pairs and lines. */

import { ask } from "./api.js";
import { readLines, suggestPairs } from "./dialogs.js";
import { get, make } from "./dom.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {{old: string, name: HTMLInputElement, gone: boolean}} Item */

/** A landmark that is there, to be renamed or taken away. @param {string} old @param {() => void} changed */
function item(old, changed) {
  const name = make("input", { "aria-label": `Name of ${old}`, value: old, required: true, maxlength: 80 });
  const remove = make("button", { type: "button", class: "quiet" });
  const line = make("li", {}, name, remove);
  /** @type {Item} */
  const found = { old, name, gone: false };
  const dress = () => {
    line.classList.toggle("gone", found.gone);
    name.disabled = found.gone;
    remove.textContent = found.gone ? "Keep" : "Take away";
    remove.setAttribute("aria-label", `${found.gone ? "Keep" : "Take away"} ${old}`);
  };
  name.oninput = changed;
  remove.onclick = () => {
    found.gone = !found.gone;
    dress();
    changed();
  };
  dress();
  return { found, line };
}

/** What the server is asked for. @param {Item[]} items @param {string[]} fresh */
export function wishes(items, fresh) {
  const kept = items.filter((one) => !one.gone);
  const renamed = Object.fromEntries(kept.map((one) => [one.old, one.name.value.trim()]).filter(([old, name]) => old !== name));
  const removed = items.filter((one) => one.gone).map((one) => one.old);
  return { landmarks: [...kept.map((one) => one.name.value.trim()), ...fresh], renamed, removed };
}

/** Pairs or lines by the new names, without those of landmarks that go. @param {[string, string][]} lines @param {Item[]} items */
function followed(lines, items) {
  const names = new Map(items.filter((one) => !one.gone).map((one) => [one.old, one.name.value.trim()]));
  return /** @type {[string, string][]} */ (
    lines.filter((line) => line.every((name) => names.has(name))).map((line) => line.map((name) => names.get(name)))
  );
}

/** @param {Store} store */
export function showLandmarks(store) {
  const dialog = get("naming", HTMLDialogElement);
  const [names, pairs, lines] = ["names", "pairs", "lines"].map((id) => get(`naming-${id}`, HTMLTextAreaElement));
  const problem = get("naming-problem");
  const joined = (/** @type {[string, string][]} */ values) => values.map((pair) => pair.join(" - ")).join("\n");
  const fresh = () => names.value.split(/[\n,]/).map((name) => name.trim()).filter(Boolean);
  let touched = store.set.pairs.length > 0;
  let drawn = { pairs: false, lines: false };
  const changed = () => {
    const found = items.map((one) => one.found);
    const gone = found.filter((one) => one.gone).length;
    problem.textContent = gone ? "Labels of what is taken away go too. Undo brings them back." : "";
    if (!drawn.pairs) pairs.value = joined(touched ? followed(store.set.pairs, found) : suggestPairs(wishes(found, fresh()).landmarks));
    if (!drawn.lines) lines.value = joined(followed(store.set.skeleton, found));
  };
  const items = store.landmarks.map((old) => item(old, changed));
  get("naming-old").replaceChildren(...items.map((one) => one.line));
  get("naming-old").hidden = !items.length;
  names.required = !items.length;
  names.rows = items.length ? 3 : 8;
  names.placeholder = items.length ? "new landmarks" : "";
  names.value = "";
  get("naming-hint").textContent = items.length
    ? "New ones, one name in each line. They come behind the others."
    : "One name in each line, in the order in which you place them. You can add more at any time.";
  pairs.value = joined(store.set.pairs);
  lines.value = joined(store.set.skeleton);
  problem.textContent = "";
  pairs.oninput = () => (touched = drawn.pairs = true);
  lines.oninput = () => (drawn.lines = true);
  names.oninput = changed;
  get("naming-form", HTMLFormElement).onsubmit = async (event) => {
    event.preventDefault();
    try {
      const stated = readLines(pairs.value, false);
      const told = stated.length || store.set.pairs.length ? stated : null;
      const skeleton = readLines(lines.value, true);
      const drawn = skeleton.length || store.set.skeleton.length ? skeleton : null;
      await store.flush();
      store.takeSet(await ask("PUT", "/api/landmarks", { ...wishes(items.map((one) => one.found), fresh()), pairs: told, skeleton: drawn }));
      dialog.close();
      await store.refetch();
    } catch (error) {
      problem.textContent = /** @type {Error} */ (error).message;
    }
  };
  dialog.showModal();
  const first = items[0]?.found.name ?? names;
  first.focus();
  first.setSelectionRange(0, 0);
  get("naming-old").scrollTop = 0;
}
