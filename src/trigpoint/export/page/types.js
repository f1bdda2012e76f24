/**
 * What the page, its worker and the exported model say to one another.
 *
 * @typedef {object} About what is written into the page
 * @property {string} name
 * @property {string[]} landmarks
 * @property {[string, string][]} skeleton
 * @property {number | null} threshold of scores of instances; null: one of each landmark in an image
 * @property {[string, string][]} facts for the dialog about the model
 * @property {TrustValues | null} trust what the run knows of its own errors; null: nothing, or it finds several instances
 *
 * @typedef {object} TrustValues as trigpoint.metrics.trust writes it, K landmarks and F numbers that predict error
 * @property {{names: string[], weights: number[], usual: number[][], mean: [number, number][], residual: number[][], flag: number}} difficulty
 * @property {{usual: Record<string, [number, number]>} | null} domain by number its mean and SD
 * @property {Rules} rules
 *
 * @typedef {{far: Record<string, number>, subjects: Record<string, string>, shifted: number, several: number, leastScore: number, leastDoubt: number,
 *   mostDoubt: number, first: string, then: string}} Rules constants of trigpoint.metrics
 *
 * @typedef {object} Flag
 * @property {"" | "doubtful" | "unlike"} kind as in the column `flag` of the table
 * @property {string} text why a person should look at the image
 * @property {Record<string, number>} far SD that its numbers are away from the usual
 *
 * @typedef {object} Picture an image as stored, upright
 * @property {number} width
 * @property {number} height
 * @property {1 | 3} channels
 * @property {Uint8Array | Uint8ClampedArray | Uint16Array} values row after row
 * @property {number} white the value that is white; black is 0
 *
 * @typedef {object} Found
 * @property {number} width
 * @property {number} height
 * @property {number} count of instances
 * @property {Float64Array} points (count, K, 2)
 * @property {Float32Array} scores (count, K)
 * @property {Float64Array} radius (K)
 * @property {Float64Array | null} spread (count, K), how far several initial guesses ended apart
 * @property {number} scale pixels of the image to one of the network's input
 * @property {[number, number]} look mean and SD of the pixels as shares of their range
 *
 * @typedef {{kind: "begin", runtime: Blob, wasm: ArrayBuffer, model: Uint8Array, threshold: number | null}
 *   | {kind: "threshold", value: number} | {kind: "find", id: number, file: File} | {kind: "show", id: number, file: File}} Asked
 *
 * @typedef {{kind: "ready"} | {kind: "failed", text: string} | {kind: "refused", id: number, text: string}
 *   | {kind: "found", id: number, found: Found} | {kind: "shown", id: number, bitmap: ImageBitmap}} Answer
 */

export {};
