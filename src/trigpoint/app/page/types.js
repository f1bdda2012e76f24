/**
 * What the server and the page say to one another.
 *
 * @typedef {[number, number, 1 | 2]} Point x, y in original pixels; 1 occluded, 2 visible
 * @typedef {Point | "absent"} Mark
 * @typedef {{instance: string, marks: Record<string, Mark>}} Row
 * @typedef {{rows: Row[], note: string, doubtful: boolean, split: string, subject: string, annotator: string}} State
 *
 * @typedef {object} Summary
 * @property {number} id
 * @property {string} name
 * @property {string} split
 * @property {string} subject
 * @property {string} annotator
 * @property {boolean} doubtful
 * @property {string} note
 * @property {number} revision
 * @property {number} done
 * @property {number} total
 * @property {string} broken
 *
 * @typedef {{undo: number, redo: number, pace: number | null}} History
 *
 * @typedef {object} Overview
 * @property {string} name
 * @property {string[]} landmarks
 * @property {[string, string][]} pairs
 * @property {[string, string][]} skeleton
 * @property {boolean} instances
 * @property {string} annotator
 * @property {boolean} readOnly
 * @property {string[]} notes
 * @property {boolean} new
 * @property {Summary[]} images
 * @property {string} began
 *
 * @typedef {{image: Summary, revision: number, state: State} & History} Full
 *
 * @typedef {{name: string, low: number, high: number}} Window
 *
 * @typedef {object} Picture
 * @property {number} width
 * @property {number} height
 * @property {number} channels
 * @property {number} bits
 * @property {number} top
 * @property {number} tile
 * @property {number} overlap
 * @property {number} offset
 * @property {number} step
 * @property {Window[]} windows
 */

export {};
