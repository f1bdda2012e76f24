/** An image file to its stored values, upright, as trigpoint's own reader gives them; what it cannot give so is told. */

import { checkBmp, checkFormat, checkJpeg, checkWebp, formatOf } from "./heads.js";
import { orientationOf, readPng } from "./png.js";

/** @typedef {import("./types.js").Picture} Picture */

export const MOST_PIXELS = 50_000_000; // numbers of 4 bytes in up to 3 colours, and as much again while they are resampled

/** @param {number} width @param {number} height */
function checkSize(width, height) {
  if (width * height <= MOST_PIXELS && width > 0 && height > 0) return;
  const got = `${((width * height) / 1e6).toFixed(0)} million pixels`;
  throw new Error(`has ${got}, more than the ${MOST_PIXELS / 1e6} million that this page takes. Use 'trigpoint predict'.`);
}

/** @param {File} file @returns {Promise<Picture>} */
export async function readPicture(file) {
  const data = new Uint8Array(await file.arrayBuffer());
  if (!data.length) throw new Error("is an empty file. Copy it again.");
  const format = formatOf(data.subarray(0, 1024), file.name);
  checkFormat(format);
  if (format === "PNG") {
    const { picture, orientation } = await readPng(data, checkSize);
    return upright(picture, orientation);
  }
  if (format === "JPEG") checkJpeg(data);
  if (format === "WebP") {
    checkWebp(data);
    const orientation = takeExif(data);
    return upright(await decoded(new Blob([data])), orientation);
  }
  if (format === "BMP") checkBmp(data);
  return decoded(file);
}

/** The orientation that a WebP states, and its EXIF data hidden: browsers differ in whether they follow it. @param {Uint8Array} data */
function takeExif(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 12; at + 8 <= data.length; ) {
    const size = view.getUint32(at + 4, true);
    if (view.getUint32(at) === 0x45584946) { // EXIF
      data.fill(0x78, at, at + 4); // a chunk that nobody knows
      return orientationOf(data.subarray(at + 8, at + 8 + size));
    }
    at += 8 + size + (size & 1);
  }
  return 1;
}

/** By the browser; without the colours that a profile asks for. @param {Blob} file @returns {Promise<Picture>} */
async function decoded(file) {
  const how = /** @type {ImageBitmapOptions} */ ({ colorSpaceConversion: "none", premultiplyAlpha: "none" });
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, how);
  } catch {
    throw new Error("cannot be decoded by this browser. Is it whole? Save it as PNG.");
  }
  const { width, height } = bitmap;
  checkSize(width, height);
  const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!pen) throw new Error("is too large for this browser. Use 'trigpoint predict'.");
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  const shown = pen.getImageData(0, 0, width, height).data;
  return { width, height, white: 255, ...opaque(shown) };
}

/** Without alpha, and grey where all pixels are. @param {Uint8ClampedArray} shown */
function opaque(shown) {
  let grey = true;
  for (let i = 0; i < shown.length; i += 4) {
    if (shown[i + 3] !== 255) throw new Error("has transparent parts, whose colours browsers lose. Save it as PNG.");
    if (shown[i] !== shown[i + 1] || shown[i] !== shown[i + 2]) grey = false;
  }
  const channels = /** @type {1 | 3} */ (grey ? 1 : 3);
  const values = new Uint8Array((shown.length / 4) * channels);
  for (let i = 0, j = 0; i < shown.length; i += 4, j += channels) {
    for (let c = 0; c < channels; c += 1) values[j + c] = shown[i + c];
  }
  return { channels, values };
}

/** Turned and mirrored as EXIF says. @param {Picture} picture @param {number} orientation @returns {Picture} */
export function upright(picture, orientation) {
  if (orientation === 1) return picture;
  const { width, height, channels, values } = picture;
  const [wide, high] = orientation > 4 ? [height, width] : [width, height];
  const out = values.slice();
  for (let y = 0, to = 0; y < high; y += 1) {
    for (let x = 0; x < wide; x += 1, to += channels) {
      const [a, b] = orientation > 4 ? [y, x] : [x, y];
      const column = [2, 3, 7, 8].includes(orientation) ? width - 1 - a : a;
      const row = [3, 4, 6, 7].includes(orientation) ? height - 1 - b : b;
      for (let c = 0; c < channels; c += 1) out[to + c] = values[(row * width + column) * channels + c];
    }
  }
  return { ...picture, width: wide, height: high, values: out };
}

/** For the screen; 16 bits from the least to the largest value met. @param {Picture} picture */
export function shownPicture({ width, height, channels, values, white }) {
  let [low, high] = [0, white];
  if (white !== 255) {
    [low, high] = [white, 0];
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  const factor = high > low ? 255 / (high - low) : 0;
  const out = new ImageData(width, height);
  for (let i = 0, j = 0; j < out.data.length; i += channels, j += 4) {
    for (let c = 0; c < 3; c += 1) out.data[j + c] = (values[i + (channels === 3 ? c : 0)] - low) * factor;
    out.data[j + 3] = 255;
  }
  return createImageBitmap(out);
}
