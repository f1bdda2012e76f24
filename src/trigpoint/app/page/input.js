/** Mouse, pen and touch on the image: place, drag, pan, and the window by the right button. */

/** @typedef {import("./viewer.js").Viewer} Viewer */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./overlay.js").Overlay} Overlay */
/** @typedef {import("./loupe.js").Loupe} Loupe */

import { hue } from "./colours.js";

const STILL = 5; // CSS pixels that a click may move
const LONG = 700; // ms that a click may last

/**
 * @typedef {object} Press
 * @property {"place" | "drag" | "tone"} kind
 * @property {number} id of the pointer
 * @property {number} x
 * @property {number} y
 * @property {number} time
 * @property {{x: number, y: number}} at the image point that was pressed
 * @property {number} dx from the pointer to the mark that is dragged, image pixels
 * @property {number} dy
 * @property {boolean} moved
 * @property {{low: number, high: number}} tone
 */

export class Input {
  /** @param {HTMLElement} place @param {Viewer} viewer @param {Store} store @param {Overlay} overlay @param {Loupe} loupe */
  constructor(place, viewer, store, overlay, loupe) {
    this.place = place;
    this.viewer = viewer;
    this.store = store;
    this.overlay = overlay;
    this.loupe = loupe;
    /** @type {Press | null} */
    this.press = null;
    /** @type {Set<number>} */
    this.down = new Set();
    /** @type {number[]} ms that handling an event took, for measuring */
    this.took = [];
    const on = (/** @type {string} */ kind, /** @type {(event: PointerEvent) => void} */ act) =>
      place.addEventListener(
        kind,
        (event) => {
          const start = performance.now();
          act.call(this, /** @type {PointerEvent} */ (event));
          this.took.push(performance.now() - start);
        },
        { capture: true },
      );
    on("pointerdown", this.pressed);
    on("pointermove", this.moved);
    on("pointerup", this.released);
    on("pointercancel", this.cancelled);
    on("pointerleave", () => this.left());
    place.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** @param {PointerEvent} event */
  pressed(event) {
    this.down.add(event.pointerId);
    if (!this.viewer.ready) return;
    if (this.down.size > 1) {
      if (this.press?.kind === "place") this.press = null; // two fingers zoom
      if (this.press) event.stopPropagation();
      return;
    }
    const { x, y } = this.viewer.position(event);
    const at = this.viewer.toImage(x, y);
    const { low, high } = this.viewer.tone;
    /** @type {Press} */
    const press = {
      kind: "place", id: event.pointerId, x, y, time: event.timeStamp, at, dx: 0, dy: 0, moved: false, tone: { low, high },
    };
    if (event.button === 2) {
      this.hold({ ...press, kind: "tone" }, event);
      return;
    }
    if (event.button !== 0) return;
    this.press = press;
    const hit = this.overlay.hit(x, y, event.pointerType);
    if (!hit) return;
    if (hit.row !== this.store.row) {
      this.store.row = hit.row;
      this.store.wanted = "";
    }
    if (hit.guess) { // a proposal is taken, and corrected where it is dragged
      this.store.how = "accepted";
      this.store.setMarks({ [hit.name]: [hit.guess[0], hit.guess[1], 2] }, true);
    }
    this.store.choose(hit.name);
    const mark = this.store.mark(hit.name);
    if (!Array.isArray(mark)) return;
    this.hold({ ...press, kind: "drag", dx: mark[0] - at.x, dy: mark[1] - at.y }, event);
  }

  /** Take the pointer from the viewer until it is released. @param {Press} press @param {PointerEvent} event */
  hold(press, event) {
    this.press = press;
    event.stopPropagation();
    event.preventDefault();
    this.place.focus({ preventScroll: true });
    this.place.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  moved(event) {
    if (!this.viewer.ready) return;
    const { x, y } = this.viewer.position(event);
    const { press } = this;
    if (!press || press.id !== event.pointerId) {
      this.hovered(x, y, event);
      return;
    }
    if (Math.hypot(x - press.x, y - press.y) >= (event.pointerType === "touch" ? 2 * STILL : STILL)) press.moved = true;
    if (press.kind === "place") return;
    event.stopPropagation();
    if (press.kind === "tone") {
      this.toned(press, x - press.x, y - press.y);
    } else if (press.moved || Math.hypot(x - press.x, y - press.y) >= 1) {
      this.dragged(press, x, y);
    }
  }

  /** @param {Press} press @param {number} x @param {number} y */
  dragged(press, x, y) {
    const { store } = this;
    const mark = store.mark(store.active);
    if (store.readOnly || !Array.isArray(mark)) return;
    press.moved = true;
    if (store.how === "accepted") store.how = "corrected";
    const at = this.viewer.toImage(x, y);
    store.setMarks({ [store.active]: [at.x + press.dx, at.y + press.dy, mark[2]] }, true);
    this.loupe.show(at.x + press.dx, at.y + press.dy, hue(store.landmarks.indexOf(store.active)));
  }

  /** The window follows the right button: sideways its width, up and down its level. @param {Press} press @param {number} dx @param {number} dy */
  toned(press, dx, dy) {
    const { low, high } = press.tone;
    const width = high - low;
    const wide = width * 2 ** (dx / 150);
    const middle = (low + high) / 2 + (dy / 300) * width;
    this.viewer.setTone({ low: middle - wide / 2, high: middle + wide / 2 });
    this.store.emit("tone");
  }

  /** @param {number} x @param {number} y @param {PointerEvent} event */
  hovered(x, y, event) {
    if (event.pointerType === "touch") return;
    const { overlay } = this;
    const hit = overlay.hit(x, y, event.pointerType);
    if (hit?.name !== overlay.hover?.name || hit?.row !== overlay.hover?.row) {
      overlay.hover = hit;
      this.place.style.cursor = hit ? "grab" : "crosshair";
      overlay.draw();
    }
    if (this.loupe.wanted) {
      const at = this.viewer.toImage(x, y);
      this.loupe.show(at.x, at.y);
    }
  }

  /** @param {PointerEvent} event */
  released(event) {
    this.down.delete(event.pointerId);
    const { press } = this;
    if (!press || press.id !== event.pointerId) return;
    this.press = null;
    if (press.kind !== "place") {
      event.stopPropagation();
      this.store.flush();
      if (!this.loupe.wanted) this.loupe.hide();
      return;
    }
    const { x, y } = this.viewer.position(event);
    const still = !press.moved && Math.hypot(x - press.x, y - press.y) < 2 * STILL;
    if (still && event.timeStamp - press.time < LONG) this.clicked(press);
  }

  /** @param {Press} press */
  clicked(press) {
    const { store, viewer } = this;
    this.place.focus({ preventScroll: true });
    if (!viewer.inside(press.at.x, press.at.y)) return;
    if (store.readOnly) {
      store.notice("The set is open for reading only.", "warning");
    } else if (!store.landmarks.length) {
      store.emit("unnamed");
    } else if (store.next) {
      store.place(press.at.x, press.at.y);
    } else {
      store.active = "";
      store.emit("selection");
      store.notice("All landmarks are set. Drag one to move it, or press Enter for the next image.");
    }
  }

  /** @param {PointerEvent} event */
  cancelled(event) {
    this.down.delete(event.pointerId);
    this.press = null;
    this.store.flush();
  }

  left() {
    if (!this.press) this.loupe.hide();
  }
}
