/** The detector: what this file carries, unpacked, in a worker of its own. */

/** @typedef {import("./types.js").About} About */
/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Asked} Asked */
/** @typedef {import("./types.js").Found} Found */

const CUT = "This file is damaged or was cut short. Copy it again.";
// (module (func (param v128))): what a browser without SIMD refuses
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 1, 123, 0);

/** Why this browser cannot run the page; "" where it can. */
export function lacking() {
  const simd = typeof WebAssembly === "object" && WebAssembly.validate(SIMD);
  const rest = ["DecompressionStream", "OffscreenCanvas", "createImageBitmap", "Worker"].filter((name) => !(name in globalThis));
  const missing = [...(simd ? [] : ["WebAssembly with SIMD"]), ...rest];
  if (!missing.length) return "";
  return `This browser lacks ${missing.join(", ")}. Use Chrome or Edge from 91 on, Firefox from 113 or Safari from 16.4, and let it run WebAssembly.`;
}

/** The text of a part of this file. @param {string} id */
function partOf(id) {
  const found = document.getElementById(id);
  if (!found || found.dataset.length !== String(found.textContent.length)) throw new Error(CUT);
  const text = found.textContent;
  found.remove(); // its memory is needed
  return text;
}

/** What a part holds, base64 of gzip. @param {string} id */
export async function unpacked(id) {
  const text = atob(partOf(id));
  const packed = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  try {
    return await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  } catch {
    throw new Error(CUT);
  }
}

export class Detector {
  constructor() {
    this.count = 0;
    /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
    this.open = new Map();
    /** @type {Worker | null} */
    this.worker = null;
  }

  /** Begin; raises an error that says what is wrong. @param {About} about */
  async begin(about) {
    const wrong = lacking();
    if (wrong) throw new Error(wrong);
    const script = new Blob([partOf("worker")], { type: "text/javascript" });
    const runtime = new Blob([await unpacked("runtime")], { type: "text/javascript" });
    const [wasm, model] = [await unpacked("wasm"), new Uint8Array(await unpacked("model"))];
    const worker = new Worker(URL.createObjectURL(script));
    this.worker = worker;
    await new Promise((resolve, reject) => {
      this.open.set(-1, { resolve, reject });
      worker.onmessage = (event) => this.answered(event.data);
      worker.onerror = (event) => this.stopped(event.message || "the browser ended its worker");
      const { threshold } = about;
      worker.postMessage(/** @type {Asked} */ ({ kind: "begin", runtime, wasm, model, threshold }), [wasm, model.buffer]);
    });
  }

  /** @param {Answer} answer */
  answered(answer) {
    if (answer.kind === "failed") return this.stopped(answer.text);
    const id = answer.kind === "ready" ? -1 : answer.id;
    const waiting = this.open.get(id);
    this.open.delete(id);
    if (answer.kind === "refused") waiting?.reject(new Error(answer.text));
    else waiting?.resolve(answer);
  }

  /** @param {string} text */
  stopped(text) {
    const error = new Error(`The detector cannot run in this browser: ${text}. Close other tabs, or try Chrome or Firefox in its newest version.`);
    for (const { reject } of this.open.values()) reject(error);
    this.open.clear();
  }

  /** @param {"find" | "show"} kind @param {File} file @returns {Promise<any>} */
  ask(kind, file) {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      this.open.set(id, { resolve, reject });
      this.worker?.postMessage(/** @type {Asked} */ ({ kind, id, file }));
    });
  }

  /** Another threshold for the score of instances. @param {number} value */
  threshold(value) {
    this.worker?.postMessage(/** @type {Asked} */ ({ kind: "threshold", value }));
  }

  /** @param {File} file @returns {Promise<Found>} */
  async find(file) {
    return (await this.ask("find", file)).found;
  }

  /** @param {File} file @returns {Promise<ImageBitmap>} */
  async show(file) {
    return (await this.ask("show", file)).bitmap;
  }
}
