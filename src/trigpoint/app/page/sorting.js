/** The order of the images: as they lie, or by what models say of them. */

import { ask } from "./api.js";
import { fill, get } from "./dom.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./proposals.js").Proposals} Proposals */
/** @typedef {import("./proposals.js").Compared} Compared */
/** @typedef {{score: number, kind: string, landmarks: string[]}} Suspect */

const FEWEST = 20; // labelled images from which wrong labels can be told

export class Sorting {
  /** @param {Store} store @param {Proposals} proposals @param {() => void} changed */
  constructor(store, proposals, changed) {
    this.store = store;
    this.proposals = proposals;
    this.order = get("order", HTMLSelectElement);
    this.landmark = get("order-landmark", HTMLSelectElement);
    /** What is likely wrong, by image. @type {Record<string, Suspect>} */
    this.suspects = {};
    this.order.onchange = this.landmark.onchange = async () => {
      if (this.order.value === "audit") await this.audit();
      this.options();
      changed();
    };
    proposals.addEventListener("all", () => {
      this.options();
      if (this.order.value !== "name") changed();
    });
    store.addEventListener("set", () => this.options());
  }

  options() {
    const { runs, images, total } = this.proposals.all;
    const labelled = this.store.set.images.filter((image) => image.done > 0).length;
    get("sorting").hidden = !runs.length && labelled < FEWEST;
    const done = Object.keys(images).length;
    get("predicted-count").textContent = runs.length && done < total ? `${done} of ${total} predicted` : "";
    /** @type {[string, string][]} */
    const orders = [["name", "In order"]];
    const useful = Object.values(images).some((image) => image.gain !== undefined);
    if (useful) orders.push(["gain", "Most useful next"]);
    if (runs.length) orders.push(["error", "Largest error first"], ["doubt", "Least certain first"]);
    if (labelled >= FEWEST) orders.push(["audit", "Likely wrong labels first"]);
    if (runs.length > 1) orders.push(["apart", "Runs disagree most"]);
    fill(this.order, { "": orders });
    fill(this.landmark, { "": [["", "all landmarks"], ...this.store.landmarks.map((name) => /** @type {[string, string]} */ ([name, name]))] });
    this.landmark.hidden = ["name", "audit", "gain"].includes(this.order.value);
  }

  async audit() {
    this.store.notice("Looking for wrong labels…");
    try {
      this.suspects = await ask("GET", "/api/audit");
    } catch (error) {
      this.store.notice(/** @type {Error} */ (error).message, "warning");
      this.order.value = "name";
    }
  }

  /** What is likely wrong with an image, in words. @param {number} id */
  suspect(id) {
    const found = this.suspects[id];
    if (!found || this.order.value !== "audit") return "";
    return `${found.kind}${found.landmarks.length ? `: ${found.landmarks.join(" and ")}` : ""} (${found.score.toFixed(1)})`;
  }

  /** What an image is sorted by, the largest first; null for what is not known. @param {number} id */
  value(id) {
    if (this.order.value === "audit") return this.suspects[id]?.score ?? null;
    const found = this.proposals.all.images[id];
    const key = /** @type {"error" | "doubt" | "apart"} */ (this.order.value);
    if (!found) return null;
    if (this.order.value === "gain") return found.gain ?? null;
    const at = this.store.landmarks.indexOf(this.landmark.value);
    const values = /** @type {number[]} */ ((at < 0 ? found[key] : [found[key][at]]).filter((value) => value !== null));
    if (!values.length) return null;
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  }

  /** @param {number[]} ids @returns {number[]} */
  sorted(ids) {
    if (this.order.value === "name") return ids;
    const values = new Map(ids.map((id) => [id, this.value(id) ?? -Infinity]));
    return [...ids].sort((a, b) => /** @type {number} */ (values.get(b)) - /** @type {number} */ (values.get(a)) || a - b);
  }

  /** A few words for the thumbnail. @param {number} id */
  words(id) {
    if (["name", "gain"].includes(this.order.value)) return "";
    if (this.order.value === "audit") return this.suspect(id);
    const value = this.value(id);
    return value === null ? "" : `${value.toFixed(1)} px`;
  }
}
