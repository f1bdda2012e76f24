/** How stored values become grey: the window that is shown as black to white, gamma, inversion. */

/** @typedef {import("./types.js").Picture} Picture */

export class Tone {
  constructor() {
    this.low = 0;
    this.high = 255;
    this.gamma = 1;
    this.invert = false;
    /** Counts changes, so that tiles know when they are out of date. */
    this.version = 0;
    /** @type {Picture | null} */
    this.picture = null;
    /** @type {Uint32Array} */
    this.table = new Uint32Array(256);
  }

  /** Begin with an image: its own first window, unless one is kept that fits. @param {Picture} picture @param {boolean} keep */
  open(picture, keep) {
    const same = this.picture && this.picture.bits === picture.bits && this.picture.offset === picture.offset;
    this.picture = picture;
    if (!(keep && same)) {
      this.low = picture.windows[0].low;
      this.high = picture.windows[0].high;
    }
    this.change({});
  }

  /** @param {{low?: number, high?: number, gamma?: number, invert?: boolean}} to */
  change(to) {
    Object.assign(this, to);
    if (!(this.high > this.low)) this.high = this.low + 1e-6;
    this.version += 1;
    const picture = /** @type {Picture} */ (this.picture);
    const count = picture.bits === 8 ? 256 : 65536;
    if (this.table.length !== count) this.table = new Uint32Array(count);
    const span = this.high - this.low;
    for (let i = 0; i < count; i += 1) {
      const real = picture.offset + picture.step * i;
      let shown = Math.min(1, Math.max(0, (real - this.low) / span));
      if (this.gamma !== 1) shown = shown ** (1 / this.gamma);
      if (this.invert) shown = 1 - shown;
      const grey = Math.round(shown * 255);
      this.table[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
  }

  /** Back to what the image began with. */
  reset() {
    const first = /** @type {Picture} */ (this.picture).windows[0];
    this.change({ low: first.low, high: first.high, gamma: 1, invert: false });
  }

  /**
   * Stored values as pixels.
   *
   * @param {Uint8Array | Uint16Array} values
   * @param {number} channels
   * @param {Uint32Array} out
   */
  paint(values, channels, out) {
    const { table } = this;
    if (channels === 1) {
      for (let i = 0; i < out.length; i += 1) out[i] = table[values[i]];
      return;
    }
    for (let i = 0, j = 0; i < out.length; i += 1, j += 3) {
      const red = table[values[j]] & 0xff;
      const green = table[values[j + 1]] & 0xff00;
      const blue = table[values[j + 2]] & 0xff0000;
      out[i] = 0xff000000 | blue | green | red;
    }
  }
}
