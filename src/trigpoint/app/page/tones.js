/** The controls of the tone: windows of the file, level and width, gamma, inversion; and the histogram is the image. */

import { fill, get } from "./dom.js";

/** @typedef {import("./viewer.js").Viewer} Viewer */
/** @typedef {import("./store.js").Store} Store */

const STEPS = 1000;

export class Tones {
  /** @param {Viewer} viewer @param {Store} store */
  constructor(viewer, store) {
    this.viewer = viewer;
    this.preset = get("preset", HTMLSelectElement);
    this.level = get("level", HTMLInputElement);
    this.width = get("width", HTMLInputElement);
    this.gamma = get("gamma", HTMLInputElement);
    this.invert = get("invert", HTMLInputElement);
    /** Least and largest value that the sliders reach. */
    this.ends = { low: 0, high: 255 };
    viewer.addEventListener("opened", () => this.opened());
    store.addEventListener("tone", () => this.show());
    this.preset.onchange = () => this.pick(Number(this.preset.value));
    this.level.oninput = this.width.oninput = () => this.slid();
    this.gamma.oninput = () => this.set({ gamma: 2 ** Number(this.gamma.value) });
    this.invert.onchange = () => this.set({ invert: this.invert.checked });
    get("tone-reset").onclick = () => this.reset();
  }

  opened() {
    const { picture } = this.viewer;
    if (!picture) return;
    fill(this.preset, { "": [["-1", "own window"], ...picture.windows.map((w, i) => /** @type {[string, string]} */ ([String(i), w.name]))] });
    const all = picture.windows.flatMap((w) => [w.low, w.high]);
    this.ends = { low: Math.min(...all), high: Math.max(...all) };
    this.show();
  }

  /** @param {number} index */
  pick(index) {
    const window = this.viewer.picture?.windows[index];
    if (window) this.set({ low: window.low, high: window.high });
  }

  slid() {
    const { low, high } = this.ends;
    const span = high - low;
    const middle = low + (Number(this.level.value) / STEPS) * span;
    const wide = (Number(this.width.value) / STEPS) ** 2 * 2 * span;
    this.set({ low: middle - wide / 2, high: middle + wide / 2 });
  }

  /** @param {{low?: number, high?: number, gamma?: number, invert?: boolean}} to */
  set(to) {
    this.viewer.setTone(to);
    this.show();
  }

  reset() {
    if (!this.viewer.picture) return;
    this.viewer.tone.reset();
    this.viewer.redraw();
    this.show();
  }

  /** Let the controls say what is set. */
  show() {
    const { tone, picture } = this.viewer;
    if (!picture) return;
    const { low, high } = this.ends;
    const span = high - low || 1;
    const wide = tone.high - tone.low;
    this.level.value = String(Math.round((STEPS * ((tone.low + tone.high) / 2 - low)) / span));
    this.width.value = String(Math.round(STEPS * Math.sqrt(wide / (2 * span))));
    this.gamma.value = String(Math.log2(tone.gamma));
    this.invert.checked = tone.invert;
    const at = picture.windows.findIndex((w) => w.low === tone.low && w.high === tone.high);
    this.preset.value = String(at);
    const digits = span < 20 ? 2 : 0;
    get("tone-text").textContent = `${tone.low.toFixed(digits)} to ${tone.high.toFixed(digits)}, gamma ${tone.gamma.toFixed(2)}`;
  }
}
