/**
 * Which images a person should look at, by the numbers that a run keeps of its validation images; as in
 * trigpoint.metrics.trust, difficulty and domain, whose formulas these are.
 */

/** @typedef {import("./types.js").TrustValues} TrustValues */
/** @typedef {import("./types.js").Found} Found */
/** @typedef {import("./types.js").Flag} Flag */
/** @typedef {[number, number]} Complex */
/** @typedef {{off: number, text: string}} Line */

const ADVICE = { doubtful: "as hard as the hardest tenth of the images it was validated on", unlike: "unlike the images it was validated on" };

const { isFinite: known } = Number;

/** The mean of what is known. @param {number[]} values @param {number} [none] where nothing is */
function meanOf(values, none = NaN) {
  const kept = values.filter(known);
  return kept.length ? kept.reduce((sum, value) => sum + value, 0) / kept.length : none;
}

/** @param {number[]} values */
function medianOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** Of SD that images are away: their median; 0 where they are too few, or lie as much on one side as on the other. @param {number[]} there @param {number} several */
function middleOf(there, several) {
  const sorted = [...there].sort((a, b) => a - b);
  const both = sorted[(sorted.length - 1) >> 1] * sorted[sorted.length >> 1];
  return there.length < several || both <= 0 ? 0 : medianOf(there);
}

/** Between -180 and 180. @param {number} degrees */
const turned = (degrees) => ((((degrees + 180) % 360) + 360) % 360) - 180;

/** A shape moved, turned and scaled onto a mean in least squares, and the factor that did it. @param {Complex[]} shape @param {Complex[]} mean @returns {{moved: Complex[], factor: Complex}} */
function onto(shape, mean) {
  const both = shape.map((_, k) => k).filter((k) => [...shape[k], ...mean[k]].every(known));
  /** @param {Complex[]} of @returns {Complex} */
  const centreOf = (of) => [meanOf(both.map((k) => of[k][0]), 0), meanOf(both.map((k) => of[k][1]), 0)];
  const [from, to] = [centreOf(shape), centreOf(mean)];
  let [power, real, imaginary] = [0, 0, 0];
  for (const k of both) {
    const [x, y] = [shape[k][0] - from[0], shape[k][1] - from[1]];
    const [u, v] = [mean[k][0] - to[0], mean[k][1] - to[1]];
    power += x * x + y * y;
    real += x * u + y * v;
    imaginary += x * v - y * u;
  }
  const [a, b] = power > 0 ? [real / power, imaginary / power] : [NaN, NaN];
  /** @param {Complex} p @returns {Complex} */
  const place = ([x, y]) => [(x - from[0]) * a - (y - from[1]) * b + to[0], (x - from[0]) * b + (y - from[1]) * a + to[1]];
  return { moved: shape.map(place), factor: [a, b] };
}

export class Trust {
  /** @param {TrustValues} values */
  constructor({ difficulty, domain, rules }) {
    this.difficulty = difficulty;
    this.rules = rules;
    this.usual = Object.entries(domain?.usual ?? {});
  }

  /** Of an image with one of each landmark. @param {Found} found @returns {Flag} */
  of({ points, scores, spread, scale, look }) {
    /** @type {Complex[]} */
    const shape = this.difficulty.mean.map((_, k) => [points[2 * k], points[2 * k + 1]]);
    const { moved, factor } = onto(shape, this.difficulty.mean);
    const beyond = this.beyond(shape, moved);
    const spreads = shape.map(([x], k) => (spread && known(x) ? spread[k] / scale : NaN));
    const doubt = meanOf(this.doubts([...scores].slice(0, shape.length), beyond, spreads));
    const far = this.far(this.numbers(shape, factor, beyond, scale, look));
    const words = this.usual.map(([name]) => name).filter((name) => Math.abs(far[name]) > this.rules.far[name]);
    words.sort((a, b) => Math.abs(far[b]) - Math.abs(far[a]));
    const kind = words.length ? "unlike" : doubt > this.difficulty.flag ? "doubtful" : "";
    const why = words.length ? `: ${words.map((name) => this.words(name, far[name], name === "turn" && this.guessed(far))).join("; ")}` : "";
    return { kind, far, text: kind && `look at it: ${ADVICE[kind]}${why}` };
  }

  /** How far each point is from where the others imply it, in SD. @param {Complex[]} shape @param {Complex[]} moved */
  beyond(shape, moved) {
    const { mean, residual } = this.difficulty;
    if (!residual.length) return mean.map(() => 0);
    const away = [0, 1].flatMap((axis) => mean.map((place, k) => (known(moved[k][axis]) ? moved[k][axis] - place[axis] : 0)));
    const standard = residual.map((row) => row.reduce((sum, value, i) => sum + value * away[i], 0));
    return mean.map((_, k) => (known(shape[k][0]) ? Math.hypot(standard[k], standard[mean.length + k]) : NaN));
  }

  /** How many times its usual error each point's is likely to be. @param {number[]} scores @param {number[]} beyond @param {number[]} spreads */
  doubts(scores, beyond, spreads) {
    const { names, usual, weights } = this.difficulty;
    const { leastScore, leastDoubt, mostDoubt } = this.rules;
    const shares = scores.map((score) => Math.min(1 - leastScore, Math.max(leastScore, score)));
    const [score, shape] = [shares.map((share) => Math.log(share) - Math.log1p(-share)), beyond.map(Math.log1p)];
    /** @type {Record<string, number[]>} */
    const all = { score, shape, spread: spreads.map(Math.log1p) };
    for (const name of ["score", "shape"]) all[`mean ${name}`] = scores.map(() => meanOf(all[name], 0));
    return scores.map((_, k) => {
      const terms = names.map((name, f) => weights[f] * (all[name][k] - usual[f][k]));
      const sum = terms.reduce((total, term) => total + (known(term) ? term : 0), 0);
      return Math.min(mostDoubt, Math.max(leastDoubt, Math.exp(sum)));
    });
  }

  /** The numbers that say whether an image is usual. @param {Complex[]} shape @param {Complex} factor @param {number[]} beyond @param {number} scale @param {[number, number]} look @returns {Record<string, number>} */
  numbers(shape, factor, beyond, scale, look) {
    const [x, y] = [0, 1].map((axis) => shape.map((point) => point[axis] / scale));
    const [middle, centre] = [meanOf(x), meanOf(y)];
    const squares = x.map((value, k) => (value - middle) ** 2 + (y[k] - centre) ** 2);
    return {
      size: squares.filter(known).length > 1 ? Math.log(Math.max(1e-3, Math.sqrt(meanOf(squares)))) : NaN,
      turn: (-Math.atan2(factor[1], factor[0]) * 180) / Math.PI,
      shape: beyond.some((value) => value !== 0) ? meanOf(beyond.map(Math.log1p)) : NaN,
      brightness: look[0],
      contrast: Math.log(Math.max(1e-3, look[1])),
    };
  }

  /** How many SD each number is away. @param {Record<string, number>} numbers */
  far(numbers) {
    /** @type {Record<string, number>} */
    const far = {};
    for (const [name, [middle, spread]] of this.usual) {
      const apart = numbers[name] - middle;
      far[name] = (name === "turn" ? turned(apart) : apart) / spread;
    }
    return far;
  }

  /** Whether the turn of an image is not to be believed: its points form an unlikely shape. @param {Record<string, number>} far */
  guessed(far) {
    return far.shape > this.rules.far.shape;
  }

  /** What is unlike the validation images in several, worst first. @param {Record<string, number>[]} each what `of` gives as `far` @param {string[]} names of the images */
  told(each, names) {
    const lines = this.usual.flatMap(([name]) => {
      const all = each.map((one, i) => ({ away: one[name], guessed: name === "turn" && this.guessed(one), file: names[i] }));
      return this.line(name, all) ?? [];
    });
    const worst = lines.sort((a, b) => b.off - a.off).map(({ text }) => text);
    return worst.length ? `${this.rules.first}: ${worst.join("; ")}. ${this.rules.then}.` : "";
  }

  /** How far one number is off, and what to say of it; those that are off to different sides are told apart. @param {string} name @param {{away: number, guessed: boolean, file: string}[]} all @returns {Line | undefined} */
  line(name, all) {
    const there = all.filter(({ away }) => known(away));
    const far = there.filter(({ away }) => Math.abs(away) > this.rules.far[name]);
    const middle = middleOf(there.map(({ away }) => away), this.rules.several);
    const sides = [1, -1].map((side) => far.filter(({ away, guessed }) => side * away > 0 && !guessed));
    /** @type {Line[]} */
    const parts = [];
    let groups = [...sides, far.filter(({ guessed }) => guessed)];
    if (Math.abs(middle) >= this.rules.shifted) {
      const unsure = 2 * there.filter(({ guessed }) => guessed).length >= there.length;
      parts.push({ off: Math.abs(middle), text: `${this.predicate(name, middle, unsure)} on the whole` });
      groups = [sides[middle > 0 ? 1 : 0]];
    }
    const worstOf = (/** @type {typeof all} */ group) => group.reduce((most, one) => (Math.abs(one.away) > Math.abs(most.away) ? one : most));
    groups = groups.filter((group) => group.length);
    for (const group of groups.sort((a, b) => Math.abs(worstOf(b).away) - Math.abs(worstOf(a).away))) {
      const [typical, worst] = [medianOf(group.map(({ away }) => away)), worstOf(group)];
      const of = parts.length ? "" : ` of ${all.length} images`;
      const such = worst.file ? `, such as ${worst.file}` : "";
      const count = all.length > 1 ? ` in ${group.length}${of}${such}` : "";
      parts.push({ off: Math.abs(typical), text: this.predicate(name, typical, worst.guessed) + count });
    }
    return parts.length ? { off: parts[0].off, text: `${this.rules.subjects[name]} ${parts.map(({ text }) => text).join(", and ")}` } : undefined;
  }

  /** Of a single image. @param {string} name @param {number} away SD @param {boolean} unsure */
  words(name, away, unsure) {
    return `${this.rules.subjects[name]} ${this.predicate(name, away, unsure)}`;
  }

  /** @param {string} name @param {number} away SD @param {boolean} unsure */
  predicate(name, away, unsure) {
    const by = away * (this.usual.find(([known]) => known === name)?.[1][1] ?? NaN);
    const more = by > 0;
    const percent = (/** @type {number} */ share) => `${Math.round(100 * share)}%`;
    if (unsure) return "turned or of another kind (how far cannot be told)";
    const degrees = Math.round(Math.abs(by));
    if (name === "turn") return `turned by ${degrees} degree${degrees === 1 ? "" : "s"} to the ${more ? "right" : "left"}`;
    if (name === "brightness") return `${more ? "brighter" : "darker"} by ${percent(Math.abs(by))} of their range`;
    const share = percent(Math.abs(Math.expm1(by)));
    if (name === "size") return `${share} ${more ? "larger" : "smaller"}`;
    if (name === "contrast") return `${share} ${more ? "higher" : "lower"}`;
    return more ? "an unlikely shape" : "a shape nearer to the mean";
  }
}
