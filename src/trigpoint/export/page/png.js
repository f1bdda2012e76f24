/** PNG to its stored values. Browsers give 8 bits, lose colours below transparency and may apply a gamma; this does not. */

/** @typedef {import("./types.js").Picture} Picture */
/** @typedef {{width: number, height: number, bits: number, samples: number, palette: Uint8Array | null, interlaced: boolean}} Head */

const SAMPLES = /** @type {Record<number, number>} */ ({ 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 });
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
const DAMAGED = "is a PNG that is damaged or cut short. Copy it again.";

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k += 1) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** @param {Uint8Array} bytes */
function checksum(bytes) {
  let crc = -1;
  for (let i = 0; i < bytes.length; i += 1) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ -1) >>> 0;
}

/** Chunks by name, those that make the picture with a checksum that fits. @param {Uint8Array<ArrayBuffer>} data */
function chunksOf(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  /** @type {Map<string, Uint8Array<ArrayBuffer>[]>} */
  const chunks = new Map();
  for (let at = 8; at + 12 <= data.length; ) {
    const size = view.getUint32(at);
    const name = String.fromCharCode(...data.subarray(at + 4, at + 8));
    const end = at + 8 + size;
    if (end + 4 > data.length) break;
    const note = name[0] >= "a"; // many tools leave those behind damaged
    if (!note && checksum(data.subarray(at + 4, end)) !== view.getUint32(end)) throw new Error(DAMAGED);
    chunks.set(name, [...(chunks.get(name) ?? []), data.subarray(at + 8, end)]);
    if (name === "IEND") return chunks;
    at = end + 4;
  }
  throw new Error(DAMAGED);
}

/** The orientation that EXIF states, 1 to 8. @param {Uint8Array | undefined} exif */
export function orientationOf(exif) {
  if (exif?.[0] === 0x45) return orientationOf(exif.subarray(6)); // after "Exif" and two zeros
  if (!exif || exif.length < 14) return 1;
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  const little = exif[0] === 0x49;
  const start = view.getUint32(4, little);
  if (start + 2 > exif.length) return 1;
  const count = view.getUint16(start, little);
  for (let at = start + 2; at + 12 <= exif.length && at < start + 2 + 12 * count; at += 12) {
    const value = view.getUint16(at + 8, little);
    if (view.getUint16(at, little) === 274) return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/**
 * @param {Uint8Array<ArrayBuffer>} data of the whole file
 * @param {(width: number, height: number) => void} check raises for too many pixels, before memory is taken
 * @returns {Promise<{picture: Picture, orientation: number}>}
 */
export async function readPng(data, check) {
  const chunks = chunksOf(data);
  const [ihdr, frames] = [chunks.get("IHDR")?.[0], chunks.get("acTL")?.[0]];
  if (!ihdr || ihdr.length < 13 || !(ihdr[9] in SAMPLES)) throw new Error(DAMAGED);
  if (frames && frames[3] + frames[2] * 256 > 1) throw new Error("is a PNG of several frames. Save its frames as images.");
  const view = new DataView(ihdr.buffer, ihdr.byteOffset, 13);
  const palette = ihdr[9] === 3 ? (chunks.get("PLTE")?.[0] ?? new Uint8Array()) : null;
  const size = { width: view.getUint32(0), height: view.getUint32(4) };
  const head = { ...size, bits: ihdr[8], samples: SAMPLES[ihdr[9]], palette, interlaced: ihdr[12] === 1 };
  check(head.width, head.height);
  const samples = unfiltered(head, await inflated(chunks.get("IDAT") ?? [], lengthOf(head)));
  return { picture: pictureOf(head, samples), orientation: orientationOf(chunks.get("eXIf")?.[0]) };
}

/** Passes over the image: first column and row, steps, and the size of each. @param {Head} head */
function passesOf({ width, height, interlaced }) {
  return (interlaced ? ADAM7 : [[0, 0, 1, 1]]).map(([x, y, across, down]) => {
    return { x, y, across, down, wide: Math.ceil((width - x) / across), high: Math.ceil((height - y) / down) };
  }).filter(({ wide, high }) => wide > 0 && high > 0);
}

/** @param {Head} head @param {number} wide */
const lineOf = (head, wide) => Math.ceil((wide * head.samples * head.bits) / 8);

/** @param {Head} head */
const lengthOf = (head) => passesOf(head).reduce((sum, { wide, high }) => sum + high * (1 + lineOf(head, wide)), 0);

/** @param {Uint8Array<ArrayBuffer>[]} parts @param {number} length */
async function inflated(parts, length) {
  const out = new Uint8Array(length);
  let at = 0;
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  for (const reader = stream.getReader(); at < length; ) {
    const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }));
    if (done || !value) throw new Error(DAMAGED);
    out.set(value.subarray(0, length - at), at);
    at += value.length;
  }
  return out;
}

/** Samples (H, W, samples) of 8 bits or 16, those of palettes as indices. @param {Head} head @param {Uint8Array} data */
function unfiltered(head, data) {
  const { width, height, bits, samples } = head;
  const out = new (bits === 16 ? Uint16Array : Uint8Array)(width * height * samples);
  const back = Math.max(1, (samples * bits) >> 3);
  let at = 0;
  for (const { x, y, across, down, wide, high } of passesOf(head)) {
    const line = lineOf(head, wide);
    let above = new Uint8Array(line);
    for (let row = 0; row < high; row += 1, at += 1 + line) {
      const now = data.subarray(at + 1, at + 1 + line);
      unfilter(data[at], now, above, back);
      above = /** @type {Uint8Array<ArrayBuffer>} */ (now);
      const start = ((y + row * down) * width + x) * samples;
      for (let i = 0; i < wide * samples; i += 1) {
        const to = start + (across === 1 ? i : Math.floor(i / samples) * across * samples + (i % samples));
        if (bits === 8) out[to] = now[i];
        else if (bits === 16) out[to] = (now[2 * i] << 8) | now[2 * i + 1];
        else out[to] = (now[(i * bits) >> 3] >> (8 - bits - ((i * bits) & 7))) & ((1 << bits) - 1);
      }
    }
  }
  return out;
}

/** @param {number} kind @param {Uint8Array} line @param {Uint8Array} above @param {number} back bytes to the pixel before */
function unfilter(kind, line, above, back) {
  if (kind > 4) throw new Error(DAMAGED);
  if (kind === 0) return;
  for (let i = 0; i < line.length; i += 1) {
    const [left, up, corner] = i < back ? [0, above[i], 0] : [line[i - back], above[i], above[i - back]];
    if (kind === 1) line[i] += left;
    else if (kind === 2) line[i] += up;
    else if (kind === 3) line[i] += (left + up) >> 1;
    else {
      const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
      line[i] += a <= b && a <= c ? left : b <= c ? up : corner;
    }
  }
}

/** Grey or colour; palettes become colour, alpha is dropped. @param {Head} head @param {Uint8Array | Uint16Array} samples @returns {Picture} */
function pictureOf({ width, height, bits, samples: count, palette }, samples) {
  const channels = palette || count > 2 ? 3 : 1;
  const white = bits === 16 ? 65535 : 255;
  let values = samples;
  if (palette) {
    values = new Uint8Array(3 * samples.length);
    for (let i = 0; i < samples.length; i += 1) values.set(palette.subarray(3 * samples[i], 3 * samples[i] + 3), 3 * i);
  } else if (count !== channels) {
    values = new (bits === 16 ? Uint16Array : Uint8Array)(width * height * channels);
    for (let i = 0, j = 0; i < values.length; i += channels, j += count) for (let c = 0; c < channels; c += 1) values[i + c] = samples[j + c];
  } else if (bits < 8) {
    values = samples.map((value) => value * (255 / (2 ** bits - 1)));
  }
  return { width, height, channels, values, white };
}
