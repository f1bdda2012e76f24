/** Help, and what names of landmarks say of one another. */

import { get, make } from "./dom.js";

/** @typedef {import("./keys.js").Keys} Keys */

const SIDES = [["left", "right"], ["l", "r"], ["Left", "Right"], ["L", "R"]];

/** @param {Keys} keys */
export function showHelp(keys) {
  const tables = keys.help().map(([group, rows]) => {
    const body = rows.map(([key, text]) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, text)));
    return make("section", {}, make("h3", {}, group), make("table", {}, ...body));
  });
  get("help-keys").replaceChildren(...tables);
  get("help", HTMLDialogElement).showModal();
}

/** Pairs that the names suggest: left_eye and right_eye. @param {string[]} names @returns {[string, string][]} */
export function suggestPairs(names) {
  /** @type {[string, string][]} */
  const pairs = [];
  for (const name of names) {
    for (const [left, right] of SIDES) {
      const parts = name.split(/([_\-. ]|\d+)/);
      if (!parts.includes(left)) continue;
      const other = parts.map((part) => (part === left ? right : part)).join("");
      if (names.includes(other) && !pairs.flat().includes(name) && !pairs.flat().includes(other)) pairs.push([name, other]);
    }
  }
  return pairs;
}

/** Lines of text such as "hip - knee - ankle" as pairs of neighbours. @param {string} text @param {boolean} chains */
export function readLines(text, chains) {
  /** @type {[string, string][]} */
  const found = [];
  for (const line of text.split("\n").map((one) => one.trim()).filter(Boolean)) {
    const names = line.split(/\s+-\s+|\s*,\s*/).filter(Boolean);
    if (names.length < 2 || (!chains && names.length > 2)) throw new Error(`expected "one - other" in each line, got "${line}"`);
    for (let i = 1; i < names.length; i += 1) found.push([names[i - 1], names[i]]);
  }
  return found;
}
