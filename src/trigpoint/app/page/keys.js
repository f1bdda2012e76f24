/** Every key, in one table: what it does, and what the help says of it. */

/**
 * @typedef {object} Key
 * @property {string[]} keys as `event.key`, with Ctrl+ and Shift+ before it
 * @property {string} text
 * @property {string} group
 * @property {(event: KeyboardEvent) => void} act
 * @property {string} [shown] instead of the keys
 */

const FIELDS = ["INPUT", "TEXTAREA", "SELECT"];

/** @param {KeyboardEvent} event */
export function chord(event) {
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Ctrl");
  if (event.altKey) parts.push("Alt");
  const letter = event.key.length === 1;
  if (event.shiftKey && (!letter || /[a-z]/i.test(event.key))) parts.push("Shift");
  parts.push(letter ? event.key.toLowerCase() : event.key);
  return parts.join("+");
}

export class Keys {
  /** @param {Key[]} keys */
  constructor(keys) {
    this.keys = keys;
    /** @type {Map<string, Key>} */
    this.by = new Map(keys.flatMap((key) => key.keys.map((name) => [name, key])));
    document.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const range = target instanceof HTMLInputElement && ["checkbox", "range"].includes(target.type);
    const writes = FIELDS.includes(target.tagName) && !range;
    if (document.querySelector("dialog[open]")) return;
    const name = chord(event);
    if (writes) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (range && /Arrow/.test(name)) return;
    const pushes = target.tagName === "BUTTON" && (name === "Enter" || name === " ");
    const key = this.by.get(name);
    if (!key || pushes) return;
    event.preventDefault();
    key.act(event);
  }

  /** The table of the help. @returns {[string, [string, string][]][]} groups of keys and what they do */
  help() {
    /** @type {Map<string, [string, string][]>} */
    const groups = new Map();
    for (const key of this.keys.filter((one) => one.text)) {
      const shown = key.shown ?? key.keys.map(readable).join(" / ");
      groups.set(key.group, [...(groups.get(key.group) ?? []), [shown, key.text]]);
    }
    return [...groups];
  }
}

/** @param {string} name */
function readable(name) {
  const words = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", PageDown: "Page ↓", PageUp: "Page ↑" };
  return name
    .split("+")
    .map((part) => words[/** @type {"PageUp"} */ (part)] ?? (part.length === 1 ? part.toUpperCase() : part))
    .join("+");
}
