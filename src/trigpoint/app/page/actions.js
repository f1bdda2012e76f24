/** What the keys do. */

/** @typedef {import("./main.js").Parts} Parts */
/** @typedef {import("./keys.js").Key} Key */

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const REST = 250; // ms after the last press of an arrow key until it is saved

/**
 * @param {Parts} parts
 * @param {() => void} help
 * @returns {Key[]}
 */
export function keysOf(parts, help) {
  return [...marking(parts), ...choosing(parts), ...images(parts), ...looking(parts, help)];
}

/** Move the selected landmark. @param {Parts} parts @param {number} dx @param {number} dy */
function nudge({ store, viewer }, dx, dy) {
  const mark = store.active ? store.mark(store.active) : undefined;
  if (!Array.isArray(mark) || store.readOnly) return;
  const [x, y] = [mark[0] + dx, mark[1] + dy];
  store.setMarks({ [store.active]: [x, y, mark[2]] }, true);
  store.timer = setTimeout(() => store.flush(), REST);
  viewer.reveal(x, y);
}

/** Place the next landmark where it lies on an example, else in the middle of what is shown. @param {Parts} parts */
export async function placeNext({ store, viewer, panel, grid, proposals, open }) {
  const name = store.next;
  const { image, row } = store;
  if (!name) {
    const next = grid.beside(1, (one) => !one.broken && one.done < one.total, true);
    if (next >= 0) await open(next);
    else store.notice(store.landmarks.length ? "Every image of this list is labelled. To make a detector of them, run trigpoint train in a terminal." : "Name the landmarks to begin.");
    return;
  }
  if (!viewer.picture || store.readOnly) return;
  const guess = proposals.shown ? proposals.proposed(name) : undefined;
  if (guess) {
    store.how = "accepted";
    store.place(guess[0], guess[1]);
    viewer.reveal(guess[0], guess[1]);
    return;
  }
  const example = await panel.example(name);
  if (store.image !== image || store.row !== row || store.next !== name) return;
  const { width, height } = viewer.picture;
  let at = viewer.middle;
  if (example) at = { x: (example.x * width) / example.width, y: (example.y * height) / example.height };
  const inside = { x: Math.min(Math.max(at.x, 0), width - 1), y: Math.min(Math.max(at.y, 0), height - 1) };
  store.place(Math.round(inside.x), Math.round(inside.y));
  viewer.reveal(inside.x, inside.y);
}

/** @param {Parts} parts @returns {Key[]} */
function marking(parts) {
  const { store, panel, proposals } = parts;
  const group = "Landmarks";
  /** @type {Key[]} */
  const arrows = Object.entries(ARROWS).flatMap(([key, [dx, dy]]) => [
    { keys: [key], group: "", text: "", act: () => nudge(parts, dx, dy) },
    { keys: [`Shift+${key}`], group: "", text: "", act: () => nudge(parts, 10 * dx, 10 * dy) },
    { keys: [`Ctrl+${key}`], group: "", text: "", act: () => nudge(parts, 100 * dx, 100 * dy) },
  ]);
  return [
    ...arrows,
    { keys: ["Click"], group, text: "Place the next one; drag one to move it", act: () => undefined },
    { keys: ["Enter"], group, text: "Place the next one where it should be; all set: next image", act: () => placeNext(parts) },
    { keys: ["Arrow"], shown: "Arrow keys", group, text: "Move the selected one by 1 pixel, Shift 10, Ctrl 100", act: () => undefined },
    { keys: ["y"], group, text: "Accept all proposals of the model", act: () => proposals.acceptAll() },
    { keys: ["v"], group, text: "Selected landmark: visible", act: () => panel.setSeen(2) },
    { keys: ["o"], group, text: "Selected landmark: occluded", act: () => panel.setSeen(1) },
    { keys: ["x"], group, text: "Not there: the chosen landmark, else the next", act: () => panel.absent() },
    { keys: ["Delete", "Backspace"], shown: "Delete", group, text: "Take it away", act: () => panel.setActive(undefined) },
    { keys: ["s"], group, text: "Skip the next landmark for now", act: () => store.skip() },
    { keys: ["Ctrl+z"], group, text: "Undo", act: () => store.step("undo") },
    { keys: ["Ctrl+Shift+z", "Ctrl+y"], shown: "Ctrl+Y", group, text: "Redo", act: () => store.step("redo") },
  ];
}

/** @param {Parts} parts @returns {Key[]} */
function choosing({ store, viewer }) {
  const group = "Choose";
  const by = (/** @type {number} */ step) => {
    const { landmarks } = store;
    if (!landmarks.length) return;
    const at = landmarks.indexOf(store.active || store.next);
    const name = landmarks[(Math.max(at, 0) + step + landmarks.length) % landmarks.length];
    store.choose(name);
    const mark = store.mark(name);
    if (Array.isArray(mark)) viewer.reveal(mark[0], mark[1]);
  };
  const object = (/** @type {number} */ step) => {
    const count = store.state.rows.length;
    if (!count) return;
    store.row = (store.row + step + count) % count;
    store.active = store.wanted = "";
    store.emit("selection");
  };
  return [
    { keys: ["]"], group, text: "Next landmark of the list", act: () => by(1) },
    { keys: ["["], group, text: "Landmark before", act: () => by(-1) },
    { keys: ["}"], group, text: "Next object of the image", act: () => object(1) },
    { keys: ["{"], group, text: "Object before", act: () => object(-1) },
    { keys: ["a"], group, text: "Another object (sets with several)", act: () => store.set.instances && store.addRow() },
    { keys: ["Escape"], group, text: "Select nothing", act: () => ((store.active = ""), store.emit("selection")) },
  ];
}

/** @param {Parts} parts @returns {Key[]} */
function images({ store, grid, open }) {
  const group = "Images";
  const doubt = () => store.edit((state) => (state.doubtful = !state.doubtful));
  return [
    { keys: ["PageDown", "."], shown: "Page ↓", group, text: "Next image of the list", act: () => open(grid.beside(1)) },
    { keys: ["PageUp", ","], shown: "Page ↑", group, text: "Image before", act: () => open(grid.beside(-1)) },
    { keys: ["d"], group, text: "Mark the image as doubtful", act: doubt },
    { keys: ["n"], group, text: "Write a note", act: () => document.getElementById("note")?.focus() },
    { keys: ["/"], group, text: "Search images", act: () => document.getElementById("search")?.focus() },
  ];
}

/** @param {Parts} parts @param {() => void} help @returns {Key[]} */
function looking({ viewer, overlay, loupe, tones, proposals, toggleTheme }, help) {
  const group = "View";
  const hide = () => {
    overlay.hidden = !overlay.hidden;
    overlay.draw();
  };
  const name = () => {
    overlay.names = !overlay.names;
    overlay.draw();
  };
  const magnify = () => {
    loupe.wanted = !loupe.wanted;
    if (loupe.wanted && viewer.ready) loupe.show(viewer.middle.x, viewer.middle.y);
    else loupe.hide();
  };
  return [
    { keys: ["+", "="], shown: "+", group, text: "Zoom in; so does the mouse wheel", act: () => viewer.zoomBy(1.5) },
    { keys: ["-"], group, text: "Zoom out", act: () => viewer.zoomBy(1 / 1.5) },
    { keys: ["f"], group, text: "Show the whole image", act: () => viewer.fit() },
    { keys: ["1"], group, text: "One image pixel to one of the screen", act: () => viewer.zoomTo(1) },
    { keys: ["l"], group, text: "Loupe", act: magnify },
    { keys: ["h"], group, text: "Hide the marks", act: hide },
    { keys: ["m"], group, text: "Hide the names", act: name },
    { keys: ["p"], group, text: "Show predictions, or not", act: () => proposals.show(!proposals.shown) },
    { keys: ["i"], group, text: "Invert black and white", act: () => tones.set({ invert: !viewer.tone.invert }) },
    { keys: ["r"], group, text: "Reset the window", act: () => tones.reset() },
    { keys: ["Right"], shown: "Right button", group, text: "Drag: window width (sideways) and level", act: () => undefined },
    { keys: ["t"], group, text: "Light or dark", act: () => toggleTheme() },
    { keys: ["?"], group, text: "This help", act: help },
  ];
}
