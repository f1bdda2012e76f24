/**
 * The colours of landmarks, in their order. This is the only list of them: the drawings of Python read this file too.
 *
 * All are seen on dark and on light images within a dark edge. The first seven are Okabe and Ito's, which people with
 * every common colour blindness tell apart, white in place of black. The others lie as far from all before as they can,
 * and neighbours in the list farther still.
 */
export const COLOURS = [
  "#E69F00", "#56B4E9", "#F0E442", "#009E73", "#FFFFFF", "#D55E00", "#CC79A7", // orange, sky, yellow, green, white, red, pink
  "#CC00FF", "#00EEBB", "#CCCCFF", "#8877CC", "#FF4477", "#AACC77", "#EE99AA",
  "#BB77FF", "#BBEEEE", "#DD33AA", "#88FF88", "#00CCCC", "#FF6644",
];

/** The colour of a landmark. @param {number} index */
export const hue = (index) => COLOURS[index % COLOURS.length];
