/** Tiles of stored values, fetched once, and the source that gives them to OpenSeadragon by the tone of the moment. */

/** @typedef {import("./types.js").Picture} Picture */
/** @typedef {import("./tone.js").Tone} Tone */
/** @typedef {{values: Uint8Array | Uint16Array, width: number, height: number, x: number, y: number}} Tile x, y: its first pixel */

const KEPT = 96; // tiles that the page holds, besides those that are shown

export class Tiles {
  /**
   * @param {Picture} picture
   * @param {string} address
   * @param {string} version
   */
  constructor(picture, address, version) {
    this.picture = picture;
    this.address = address;
    this.version = version;
    /** @type {Map<string, Promise<Tile>>} */
    this.kept = new Map();
  }

  /** Pixels that a tile covers, with its overlap, in those of its level. @param {number} level @param {number} column @param {number} row */
  extent(level, column, row) {
    const { width, height, top, tile, overlap } = this.picture;
    const stride = 2 ** (top - level);
    const w = Math.ceil(width / stride);
    const h = Math.ceil(height / stride);
    const x = Math.max(0, column * tile - overlap);
    const y = Math.max(0, row * tile - overlap);
    const right = Math.min(w, (column + 1) * tile + overlap);
    const bottom = Math.min(h, (row + 1) * tile + overlap);
    return { x, y, width: right - x, height: bottom - y, stride };
  }

  /** @param {number} level @param {number} column @param {number} row */
  url(level, column, row) {
    return `${this.address}/${level}/${column}/${row}?v=${this.version}`;
  }

  /** @param {number} level @param {number} column @param {number} row @returns {Promise<Tile>} */
  get(level, column, row) {
    const key = `${level}/${column}/${row}`;
    const found = this.kept.get(key);
    if (found) {
      this.kept.delete(key);
      this.kept.set(key, found);
      return found;
    }
    const wanted = this.fetch(level, column, row);
    this.kept.set(key, wanted);
    wanted.catch(() => this.kept.delete(key));
    for (const old of this.kept.keys()) {
      if (this.kept.size <= KEPT) break;
      this.kept.delete(old);
    }
    return wanted;
  }

  /** @param {number} level @param {number} column @param {number} row @returns {Promise<Tile>} */
  async fetch(level, column, row) {
    const answer = await fetch(this.url(level, column, row));
    if (!answer.ok) throw new Error(`tile: the server answered ${answer.status}`);
    const data = await answer.arrayBuffer();
    const values = this.picture.bits === 8 ? new Uint8Array(data) : new Uint16Array(data);
    const { x, y, width, height } = this.extent(level, column, row);
    if (values.length !== width * height * this.picture.channels) throw new Error("tile: got another number of pixels");
    return { values, width, height, x, y };
  }
}

/**
 * A tile source of OpenSeadragon. Its tiles lie exactly where their pixels are, also the last ones, which are smaller.
 *
 * @param {Tiles} tiles
 * @param {Tone} tone
 */
export function sourceOf(tiles, tone) {
  const { picture } = tiles;
  const source = new OpenSeadragon.TileSource({
    width: picture.width,
    height: picture.height,
    tileSize: picture.tile,
    tileOverlap: picture.overlap,
    minLevel: 0,
    maxLevel: picture.top,
  });
  source.getTileUrl = tiles.url.bind(tiles);
  source.hasTransparency = () => false;
  /** @param {number} level @param {number} column @param {number} row @param {boolean} [own] */
  source.getTileBounds = (level, column, row, own) => {
    const { x, y, width, height, stride } = tiles.extent(level, column, row);
    if (own) return new OpenSeadragon.Rect(0, 0, width, height);
    const unit = stride / picture.width;
    return new OpenSeadragon.Rect(x * unit, y * unit, width * unit, height * unit);
  };
  /** @param {any} job */
  source.downloadTileStart = (job) => {
    const [level, column, row] = job.src.split("?")[0].split("/").slice(-3).map(Number);
    tiles.get(level, column, row).then(
      (tile) => job.finish(tile, null, undefined),
      (error) => job.finish(null, null, String(error)),
    );
  };
  source.downloadTileAbort = () => {};
  /** @param {any} cache @param {Tile} data */
  source.createTileCache = (cache, data) => Object.assign(cache, { tile: data, version: -1, context: null });
  /** @param {any} cache */
  source.destroyTileCache = (cache) => Object.assign(cache, { tile: null, context: null, pixels: null });
  /** @param {any} cache */
  source.getTileCacheData = (cache) => cache.tile;
  /** @param {any} cache */
  source.getTileCacheDataAsImage = (cache) => source.getTileCacheDataAsContext2D(cache).canvas;
  /** @param {any} cache */
  source.getTileCacheDataAsContext2D = (cache) => {
    if (!cache.context) {
      const canvas = document.createElement("canvas");
      canvas.width = cache.tile.width;
      canvas.height = cache.tile.height;
      cache.context = canvas.getContext("2d", { alpha: false });
      cache.pixels = cache.context.createImageData(canvas.width, canvas.height);
    }
    if (cache.version !== tone.version) {
      tone.paint(cache.tile.values, picture.channels, new Uint32Array(cache.pixels.data.buffer));
      cache.context.putImageData(cache.pixels, 0, 0);
      cache.version = tone.version;
    }
    return cache.context;
  };
  return source;
}
