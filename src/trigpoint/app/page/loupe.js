/** A magnified square around the pointer, from the image's own pixels whatever the zoom. */

/** @typedef {import("./viewer.js").Viewer} Viewer */

const SIDE = 184; // CSS pixels
const SCALE = 8; // CSS pixels to an image pixel

export class Loupe {
  /** @param {Viewer} viewer @param {HTMLCanvasElement} canvas */
  constructor(viewer, canvas) {
    this.viewer = viewer;
    this.canvas = canvas;
    this.wanted = false;
    this.turn = 0;
    this.small = document.createElement("canvas");
    this.hide();
  }

  hide() {
    this.turn += 1;
    this.canvas.hidden = true;
  }

  /**
   * Show an image point; `colour` of a ring where a mark is dragged.
   *
   * @param {number} x
   * @param {number} y
   * @param {string} [colour]
   */
  async show(x, y, colour) {
    const { picture, tiles } = this.viewer;
    if (!picture || !tiles) return this.hide();
    const turn = ++this.turn;
    const count = Math.ceil(SIDE / SCALE / 2) * 2 + 3;
    const left = Math.floor(x + 0.5) - (count - 1) / 2;
    const top = Math.floor(y + 0.5) - (count - 1) / 2;
    const pixels = await this.region(left, top, count);
    if (turn !== this.turn || !pixels) return;
    this.paint(pixels, count, x - left, y - top, colour ?? "#ffffff");
    const at = this.viewer.toScreen(x, y);
    this.canvas.classList.toggle("right", at.x < SIDE + 60 && at.y < SIDE + 60);
    this.canvas.hidden = false;
  }

  /** Pixels of a square of the image, dark outside. @param {number} left @param {number} top @param {number} count */
  async region(left, top, count) {
    const { picture, tiles, tone } = this.viewer;
    if (!picture || !tiles) return null;
    const { tile: side, channels, width, height } = picture;
    const out = new Uint32Array(count * count).fill(0xff1a1814);
    const one = new Uint32Array(1);
    const Kind = picture.bits === 8 ? Uint8Array : Uint16Array;
    const value = new Kind(channels);
    const column = (/** @type {number} */ at) => Math.floor(at / side);
    const [x0, x1] = [Math.max(0, left), Math.min(width, left + count)];
    const [y0, y1] = [Math.max(0, top), Math.min(height, top + count)];
    for (let row = column(y0); y0 < y1 && row <= column(y1 - 1); row += 1) {
      for (let col = column(x0); x0 < x1 && col <= column(x1 - 1); col += 1) {
        let part;
        try {
          part = await tiles.get(picture.top, col, row);
        } catch {
          return null;
        }
        for (let y = Math.max(y0, row * side); y < Math.min(y1, (row + 1) * side); y += 1) {
          for (let x = Math.max(x0, col * side); x < Math.min(x1, (col + 1) * side); x += 1) {
            const at = ((y - part.y) * part.width + (x - part.x)) * channels;
            for (let c = 0; c < channels; c += 1) value[c] = part.values[at + c];
            tone.paint(value, channels, one);
            out[(y - top) * count + (x - left)] = one[0];
          }
        }
      }
    }
    return out;
  }

  /** @param {Uint32Array} pixels @param {number} count @param {number} x @param {number} y @param {string} colour */
  paint(pixels, count, x, y, colour) {
    const ratio = devicePixelRatio;
    const side = Math.round(SIDE * ratio);
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
    this.small.width = this.small.height = count;
    const data = new ImageData(new Uint8ClampedArray(/** @type {ArrayBuffer} */ (pixels.buffer)), count, count);
    /** @type {CanvasRenderingContext2D} */ (this.small.getContext("2d")).putImageData(data, 0, 0);
    const pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    pen.imageSmoothingEnabled = false;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = "#14181a";
    pen.fillRect(0, 0, SIDE, SIDE);
    const middle = SIDE / 2;
    pen.drawImage(this.small, middle - (x + 0.5) * SCALE, middle - (y + 0.5) * SCALE, count * SCALE, count * SCALE);
    for (const [stroke, width] of /** @type {[string, number][]} */ ([["#000000a0", 3], [colour, 1.2]])) {
      pen.strokeStyle = stroke;
      pen.lineWidth = width;
      pen.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        pen.moveTo(middle + 6 * dx, middle + 6 * dy);
        pen.lineTo(middle + 30 * dx, middle + 30 * dy);
      }
      pen.stroke();
    }
  }
}
