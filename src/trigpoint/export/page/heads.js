/** Which format a file has by its first bytes, and what would be read otherwise than by trigpoint itself. */

/** Of files that are meant as images; others are passed over unless their bytes are those of one. */
const SUFFIX = /\.(a?png|jpe?g?|jpe|jfif|bmp|dib|gif|webp|jp[2xf]|j2k|p[gpbnf]m|tiff?|btf|tf8|svs|ndpi|scn|bif|qptiff|dcm|dicom|dic|ima|avif|heic)$/i;
const COMMAND = "use 'trigpoint predict' with the model as ONNX file or run folder";

/** @param {Uint8Array} head @param {string} text @param {number} [at] */
const says = (head, text, at = 0) => [...text].every((letter, i) => head[at + i] === letter.charCodeAt(0));

/** The format, "" where it is not known. @param {Uint8Array} head @param {string} name */
export function formatOf(head, name) {
  if (says(head, "DICM", 128) || /\.(dcm|dicom|dic|ima)$/i.test(name)) return "DICOM";
  if (says(head, "\x89PNG\r\n\x1a\n")) return "PNG";
  if (says(head, "\xff\xd8\xff")) return "JPEG";
  if (says(head, "RIFF") && says(head, "WEBP", 8)) return "WebP";
  if (says(head, "GIF8")) return "GIF";
  if (["II*\0", "MM\0*", "II+\0", "MM\0+"].some((text) => says(head, text))) return "TIFF";
  if (says(head, "\0\0\0\x0cjP  ") || says(head, "\xff\x4f\xff\x51")) return "JPEG 2000";
  if (says(head, "BM") && head.length > 26 && head[15] === 0 && head[14] >= 12) return "BMP";
  if (/^P[1-6fF]$/.test(String.fromCharCode(head[0], head[1])) && head[2] <= 32) return "PGM or PPM";
  return "";
}

/** Whether a file is meant as an image. @param {File} file */
export async function isImage(file) {
  if (file.name.startsWith(".")) return false;
  return SUFFIX.test(file.name) || formatOf(new Uint8Array(await file.slice(0, 1024).arrayBuffer()), file.name) !== "";
}

/** Raise an error for a format that this page does not read as trigpoint does. @param {string} format */
export function checkFormat(format) {
  if (["PNG", "JPEG", "WebP", "BMP"].includes(format)) return;
  if (!format) throw new Error("is no image that is known here. The page reads PNG, JPEG, WebP and BMP.");
  const why = ["DICOM", "TIFF"].includes(format) ? ", which may have more than 8 bits, and which browsers would cut or not read" : "";
  throw new Error(`is ${format}${why}. Save it as PNG (8 or 16 bits), or ${COMMAND}.`);
}

/** Raise an error for a JPEG that browsers read otherwise, or that is cut. @param {Uint8Array} data */
export function checkJpeg(data) {
  let at = 2;
  while (at + 9 < data.length && data[at] === 0xff) {
    const marker = data[at + 1];
    const frame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (frame && data[at + 4] !== 8) throw new Error(`is a JPEG of ${data[at + 4]} bits, which a browser would cut. Save it as PNG.`);
    if (frame && ![1, 3].includes(data[at + 9])) throw new Error("is a JPEG in CMYK, whose colours browsers change. Save it as RGB.");
    if (marker === 0xff) at += 1;
    else at += 2 + ((data[at + 2] << 8) | data[at + 3]);
    if (marker === 0xda) return checkEnd(data, at);
  }
  throw new Error("is a damaged JPEG. Copy it again.");
}

/** @param {Uint8Array} data @param {number} at where the coded values begin */
function checkEnd(data, at) {
  for (let i = data.indexOf(0xff, at); i >= 0; i = data.indexOf(0xff, i + 1)) if (data[i + 1] === 0xd9) return;
  throw new Error("is a JPEG that is cut short. Copy it again.");
}

/** Raise an error for a WebP that is cut, or has several frames. @param {Uint8Array} data */
export function checkWebp(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 30 || view.getUint32(4, true) + 8 > data.length) throw new Error("is a WebP that is cut short. Copy it again.");
  if (says(data, "VP8X", 12) && data[20] & 2) throw new Error(`is a WebP of several frames. Save its frames as images, or ${COMMAND}.`);
}

/** Raise an error for a BMP that is cut. @param {Uint8Array} data */
export function checkBmp(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 54 || view.getUint32(14, true) < 40) throw new Error("is a BMP of an old kind, or cut short. Save it as PNG.");
  const [width, height, bits] = [view.getInt32(18, true), Math.abs(view.getInt32(22, true)), view.getUint16(28, true)];
  const rows = height * 4 * Math.ceil((width * bits) / 32);
  const plain = [0, 3].includes(view.getUint32(30, true));
  if (plain && view.getUint32(10, true) + rows > data.length) throw new Error("is a BMP that is cut short. Copy it again.");
}
