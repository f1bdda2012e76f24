/** Proposals near a corrected one move along: what trigpoint/metrics/together.py says, computed while a point is dragged. */

/** @typedef {import("./proposals.js").Guess} Guess */
/** @typedef {import("./types.js").Mark} Mark */
/** @typedef {{length: number, alone: number}} Together in units of the figure's size; share of an error that is its own */

/**
 * Where landmarks are proposed, given what was labelled: the conditional mean of their errors, one label after another.
 *
 * @param {Record<string, Guess>} guesses
 * @param {Record<string, Mark>} marks
 * @param {Together} together
 * @returns {Record<string, Guess>}
 */
export function moved(guesses, marks, together) {
  const names = Object.keys(guesses);
  const points = names.map((name) => guesses[name]);
  const errors = correlations(points, together);
  const shift = points.map(() => [0, 0]);
  names.forEach((name, k) => {
    const mark = marks[name];
    if (!Array.isArray(mark)) return;
    const [[x, y], [dx, dy]] = [points[k], shift[k]];
    const wrong = [mark[0] - x - dx, mark[1] - y - dy];
    const own = Float64Array.from(errors[k]);
    points.forEach((_, j) => {
      const share = own[j] / own[k];
      shift[j][0] += share * wrong[0];
      shift[j][1] += share * wrong[1];
      for (let i = 0; i < own.length; i += 1) errors[j][i] -= share * own[i];
    });
  });
  return Object.fromEntries(
    names.map((name, k) => {
      const [x, y, ...rest] = points[k];
      return [name, /** @type {Guess} */ ([x + shift[k][0], y + shift[k][1], ...rest])];
    }),
  );
}

/** How the errors of points correlate. @param {Guess[]} points @param {Together} together @returns {Float64Array[]} */
function correlations(points, { length, alone }) {
  const left = points.reduce((sum, [x]) => sum + x, 0) / points.length;
  const top = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  const squares = points.reduce((sum, [x, y]) => sum + (x - left) ** 2 + (y - top) ** 2, 0);
  const size = Math.max(Math.sqrt(squares / points.length), 1e-9);
  return points.map(([x, y], j) =>
    Float64Array.from(points, ([u, v], k) => (j === k ? 1 : (1 - alone) * Math.exp(-Math.hypot(x - u, y - v) / size / length))),
  );
}
