/** Loads thumbnails that are in sight, a few at a time: browsers have six connections, and the open image goes first. */

const AT_ONCE = 2;

export class Thumbs {
  /** @param {HTMLElement} list that scrolls */
  constructor(list) {
    /** @type {Map<HTMLImageElement, string>} */
    this.wanted = new Map();
    /** @type {Set<HTMLImageElement>} */
    this.seen = new Set();
    this.busy = 0;
    const act = (/** @type {IntersectionObserverEntry[]} */ changes) => {
      for (const change of changes) {
        const picture = /** @type {HTMLImageElement} */ (change.target);
        if (change.isIntersecting) this.seen.add(picture);
        else this.seen.delete(picture);
      }
      this.next();
    };
    this.observer = new IntersectionObserver(act, { root: list, rootMargin: "200px" });
  }

  /** Begin anew. */
  clear() {
    this.observer.disconnect();
    this.wanted.clear();
    this.seen.clear();
  }

  /** Show an address in a picture when it comes into sight. @param {HTMLImageElement} picture @param {string} address */
  show(picture, address) {
    if (picture.dataset.address === address) return;
    picture.dataset.address = address;
    this.wanted.set(picture, address);
    this.observer.observe(picture);
    this.next();
  }

  next() {
    for (const picture of this.seen) {
      if (this.busy >= AT_ONCE) return;
      const address = this.wanted.get(picture);
      if (address === undefined) continue;
      this.wanted.delete(picture);
      this.busy += 1;
      const done = () => {
        this.busy -= 1;
        this.next();
      };
      picture.onload = picture.onerror = done;
      picture.src = address;
    }
  }
}
