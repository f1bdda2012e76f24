/** The image, with zoom and pan by OpenSeadragon; and the only place that turns screen positions into pixels. */

import { sourceOf, Tiles } from "./tiles.js";
import { Tone } from "./tone.js";

/** @typedef {import("./types.js").Picture} Picture */

const CRISP = 3; // device pixels to an image pixel from which pixels are shown as squares

/** Events: `view` (the part that is shown has changed), `opened`, `failed` (detail: why). */
export class Viewer extends EventTarget {
  /** @param {HTMLElement} place */
  constructor(place) {
    super();
    this.place = place;
    this.tone = new Tone();
    /** @type {Picture | null} */
    this.picture = null;
    /** @type {Tiles | null} */
    this.tiles = null;
    this.keepTone = true;
    const still = { clickToZoom: false, dblClickToZoom: false, flickEnabled: false };
    this.osd = OpenSeadragon({
      element: place,
      drawer: "canvas",
      tabIndex: -1,
      showNavigationControl: false,
      gestureSettingsMouse: still,
      gestureSettingsTouch: { ...still, pinchRotate: false },
      gestureSettingsPen: still,
      gestureSettingsUnknown: still,
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.25,
      springStiffness: 10,
      blendTime: 0,
      immediateRender: true,
      minPixelRatio: 0.8,
      maxZoomPixelRatio: 64,
      minZoomImageRatio: 0.5,
      visibilityRatio: 0.2,
      zoomPerScroll: 1.25,
      zoomPerClick: 1,
      imageLoaderLimit: 6,
      maxImageCacheCount: 160,
      preserveImageSizeOnResize: true,
    });
    this.osd.addHandler("canvas-key", (/** @type {any} */ event) => (event.preventDefaultAction = true));
    this.osd.addHandler("canvas-drag", (/** @type {any} */ event) => this.still(event));
    this.osd.addHandler("canvas-press", () => (this.moved = 0));
    for (const kind of ["pan", "zoom"]) this.osd.addHandler(kind, () => (this.whole = false));
    this.osd.addHandler("resize", () => this.stayWhole());
    for (const kind of ["update-viewport", "resize"]) this.osd.addHandler(kind, () => this.changed());
    this.osd.addHandler("tile-load-failed", (/** @type {any} */ event) => this.failed(event.message));
    this.moved = 0;
    this.whole = true;
    new ResizeObserver(() => this.align()).observe(/** @type {HTMLElement} */ (place.parentElement));
    addEventListener("resize", () => this.align());
    this.align();
  }

  /**
   * Lay the viewer where whole numbers of CSS and of device pixels meet, and make it as large as they allow: elsewhere
   * browsers draw a canvas up to half a device pixel beside its place.
   */
  align() {
    const { place } = this;
    const box = /** @type {HTMLElement} */ (place.parentElement).getBoundingClientRect();
    const [left, top] = [wholePixels(box.left, 1), wholePixels(box.top, 1)];
    const [right, bottom] = [wholePixels(box.right, -1), wholePixels(box.bottom, -1)];
    Object.assign(place.style, {
      left: `${left - box.left}px`,
      top: `${top - box.top}px`,
      width: `${Math.max(1, right - left)}px`,
      height: `${Math.max(1, bottom - top)}px`,
    });
  }

  /** A press that hardly moves is a click and pans nothing. @param {any} event */
  still(event) {
    this.moved += Math.abs(event.delta.x) + Math.abs(event.delta.y);
    if (this.moved < 5) event.preventDefaultAction = true;
  }

  /**
   * A picture that is seen whole stays so in a window of another size, also while the page is laid out. OpenSeadragon
   * keeps the size of a pixel, and says that it resizes before it does.
   */
  stayWhole() {
    if (this.whole) queueMicrotask(() => this.ready && this.fit(true));
  }

  /** @param {string} why */
  failed(why) {
    this.dispatchEvent(new CustomEvent("failed", { detail: why }));
  }

  changed() {
    if (!this.ready) return;
    const crisp = this.scale * devicePixelRatio >= CRISP;
    const { drawer } = this.osd;
    if (drawer._imageSmoothingEnabled === crisp) drawer.setImageSmoothingEnabled(!crisp);
    this.dispatchEvent(new Event("view"));
  }

  /** Whether the picture is there and has its place: before the first layout the viewer is a pixel wide. */
  get ready() {
    const { viewport, world } = this.osd;
    return this.picture !== null && world.getItemCount() > 0 && viewport.getContainerSize().x > 1;
  }

  /** Another picture is on its way: a click on the one still seen would label it in the wrong place. */
  leave() {
    this.picture = null;
  }

  /** @param {Picture} picture @param {string} address of its tiles @param {string} version */
  open(picture, address, version) {
    this.tone.open(picture, this.keepTone);
    this.picture = picture;
    this.tiles = new Tiles(picture, address, version);
    this.osd.addOnceHandler("open", () => {
      this.whole = true;
      this.dispatchEvent(new Event("opened"));
      this.changed();
    });
    this.osd.open(sourceOf(this.tiles, this.tone));
  }

  close() {
    this.picture = this.tiles = null;
    this.osd.close();
  }

  /** @param {{low?: number, high?: number, gamma?: number, invert?: boolean}} to */
  setTone(to) {
    if (!this.picture) return;
    this.tone.change(to);
    this.redraw();
  }

  redraw() {
    this.osd.forceRedraw();
    this.dispatchEvent(new Event("view"));
  }

  // -- where things are -------------------------------------------------------------------------------------------

  get item() {
    return this.osd.world.getItemAt(0);
  }

  /** CSS pixels to an image pixel, now. */
  get scale() {
    const { width } = /** @type {Picture} */ (this.picture);
    return (this.osd.viewport.getZoom(true) * this.osd.viewport.getContainerSize().x) / width;
  }

  /**
   * An image point in CSS pixels from the top left corner of the viewer. Image points have the centre of the top-left
   * pixel at (0, 0); OpenSeadragon has its corner there.
   *
   * @param {number} x
   * @param {number} y
   */
  toScreen(x, y) {
    const { width } = /** @type {Picture} */ (this.picture);
    const at = this.osd.viewport.pixelFromPoint(new OpenSeadragon.Point((x + 0.5) / width, (y + 0.5) / width), true);
    return { x: at.x, y: at.y };
  }

  /**
   * The image point at a position in CSS pixels from the top left corner of the viewer.
   *
   * @param {number} x
   * @param {number} y
   */
  toImage(x, y) {
    const { width } = /** @type {Picture} */ (this.picture);
    const at = this.osd.viewport.pointFromPixel(new OpenSeadragon.Point(x, y), true);
    return { x: at.x * width - 0.5, y: at.y * width - 0.5 };
  }

  /**
   * Where a pointer is, in CSS pixels from the top left corner of the viewer. A mouse names the left and upper edge of
   * the device pixel that its tip covers; what is meant is the middle of it.
   *
   * @param {{clientX: number, clientY: number, pointerType: string}} event
   */
  position(event) {
    const box = this.place.getBoundingClientRect();
    const half = event.pointerType === "touch" ? 0 : 0.5 / devicePixelRatio;
    return { x: event.clientX - box.left + half, y: event.clientY - box.top + half };
  }

  /** @param {{clientX: number, clientY: number, pointerType: string}} event */
  pointed(event) {
    const { x, y } = this.position(event);
    return this.toImage(x, y);
  }

  /** @param {number} x @param {number} y */
  inside(x, y) {
    const { width, height } = /** @type {Picture} */ (this.picture);
    return x >= -0.5 && y >= -0.5 && x <= width - 0.5 && y <= height - 0.5;
  }

  get middle() {
    const box = this.place.getBoundingClientRect();
    return this.toImage(box.width / 2, box.height / 2);
  }

  // -- moving -----------------------------------------------------------------------------------------------------

  /** Show the whole picture. @param {boolean} [atOnce] without a movement */
  fit(atOnce = false) {
    this.osd.viewport.goHome(atOnce);
    this.whole = true;
  }

  /** @param {number} factor */
  zoomBy(factor) {
    this.osd.viewport.zoomBy(factor);
    this.osd.viewport.applyConstraints();
  }

  /** Device pixels to an image pixel. @param {number} scale */
  zoomTo(scale) {
    const now = this.scale * devicePixelRatio;
    this.zoomBy(scale / now);
  }

  /** Show a point, by moving as little as needed. @param {number} x @param {number} y */
  reveal(x, y) {
    const at = this.toScreen(x, y);
    const box = this.place.getBoundingClientRect();
    const edge = 40;
    if (at.x > edge && at.y > edge && at.x < box.width - edge && at.y < box.height - edge) return;
    const { width } = /** @type {Picture} */ (this.picture);
    this.osd.viewport.panTo(new OpenSeadragon.Point((x + 0.5) / width, (y + 0.5) / width));
  }
}

/**
 * The nearest whole number of CSS pixels, on one side of a position, that is a whole number of device pixels too.
 *
 * @param {number} at
 * @param {1 | -1} side
 */
function wholePixels(at, side) {
  const ratio = devicePixelRatio;
  const first = side > 0 ? Math.ceil(at - 1e-3) : Math.floor(at + 1e-3);
  for (let step = 0; step < 40; step += 1) {
    const size = first + side * step;
    if (Math.abs(size * ratio - Math.round(size * ratio)) < 1e-3) return size;
  }
  return first;
}
