/** The worker: reads images and runs the network, so that the page can be used meanwhile. */

import { readPicture, shownPicture } from "./reading.js";

/** @typedef {import("./types.js").Asked} Asked */
/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Found} Found */
/** @typedef {import("./types.js").Picture} Picture */

const ROUNDING = 1 - 1e-5; // of a threshold, as in trigpoint.prediction.exported

const thread = /** @type {any} */ (self);
/** @type {any} */
let runtime = null;
/** @type {any} */
let session = null;
/** @type {number | null} */
let threshold = null;

/** @param {Answer} answer @param {Transferable[]} [moved] */
const tell = (answer, moved = []) => thread.postMessage(answer, moved);

/** @param {unknown} error */
const textOf = (error) => (error instanceof Error ? error.message : String(error)).split("\n")[0].slice(0, 300);

/** @param {Extract<Asked, {kind: "begin"}>} asked */
async function begin(asked) {
  const place = URL.createObjectURL(asked.runtime);
  runtime = await import(place);
  URL.revokeObjectURL(place);
  runtime.env.wasm.numThreads = 1; // more need headers that a file cannot have
  runtime.env.wasm.wasmBinary = asked.wasm;
  runtime.env.logLevel = "error";
  session = await runtime.InferenceSession.create(asked.model, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
  threshold = asked.threshold;
}

/** @param {Picture} picture @returns {Promise<Found>} */
async function find(picture) {
  const { width, height, channels, values, white } = picture;
  const image = new runtime.Tensor("float32", Float32Array.from(values), [height, width, channels]);
  const given = { image, value_range: new runtime.Tensor("float32", Float32Array.of(0, white), [2]) };
  if (threshold !== null) Object.assign(given, { threshold: new runtime.Tensor("float32", Float32Array.of(ROUNDING * threshold), []) });
  const found = await session.run(given);
  const { points, scores, radius, spread, scale } = found;
  const count = threshold === null ? points.dims[0] : instances(scores.data, points.dims[0], points.dims[1]);
  const numbers = { points: points.data, scores: scores.data, radius: radius.data, spread: spread?.data ?? null };
  return { width, height, count, ...numbers, scale: Number(scale.data[0]), look: lookOf(picture) };
}

/** Mean and SD of about 10,000 pixels, those of trigpoint.metrics.domain. @param {Picture} picture @returns {[number, number]} */
function lookOf({ width, height, channels, values, white }) {
  const step = Math.max(1, Math.floor(Math.sqrt((width * height) / 1e4)));
  let [count, sum, squares] = [0, 0, 0];
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) {
      for (let c = 0; c < channels; c += 1, count += 1) {
        const share = values[(y * width + x) * channels + c] / white;
        sum += share;
        squares += share * share;
      }
    }
  }
  const mean = sum / count;
  return [mean, Math.sqrt(Math.max(0, squares / count - mean * mean))];
}

/** The rows that hold an instance; a graph gives a row of nothing where there is none.
 * @param {Float32Array} scores @param {number} rows @param {number} each */
function instances(scores, rows, each) {
  let most = 0;
  for (let landmark = 0; landmark < each; landmark++) {
    let there = 0;
    for (let row = 0; row < rows; row++) if (scores[row * each + landmark] > 0) there++;
    most = Math.max(most, there);
  }
  return most;
}

/** @param {Asked} asked */
async function answer(asked) {
  if (asked.kind === "begin") {
    try {
      await begin(asked);
      tell({ kind: "ready" });
    } catch (error) {
      tell({ kind: "failed", text: textOf(error) });
    }
    return;
  }
  if (asked.kind === "threshold") {
    threshold = asked.value;
    return;
  }
  const { id, file } = asked;
  try {
    const picture = await readPicture(file);
    if (asked.kind === "find") {
      tell({ kind: "found", id, found: await find(picture) });
    } else {
      const bitmap = await shownPicture(picture);
      tell({ kind: "shown", id, bitmap }, [bitmap]);
    }
  } catch (error) {
    const text = textOf(error);
    const full = error instanceof RangeError || /memory|bad_alloc|allocat/i.test(text);
    tell({ kind: "refused", id, text: full ? "is too large for the memory that this browser gives. Use 'trigpoint predict'." : text });
  }
}

thread.addEventListener("message", (/** @type {MessageEvent<Asked>} */ event) => answer(event.data));
