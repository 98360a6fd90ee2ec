"use strict";
/* The pictures before and after, tile by tile, and the divider between them. */
function makePictures(map, pictures, redraw) {
  const TILE = 256, MOST = 800; // pixels of a tile's side; tiles that are kept
  const byId = (id) => document.getElementById(id);
  const both = Boolean(pictures.before && pictures.after);
  const tiles = new Map(); // address → image, the one used last at the end
  byId("stage").dataset.loading = "0";
  let side = both ? "both" : pictures.after ? "after" : "before";
  let share = 0.5; // of the stage's width that shows what was before

  let loading = 0; // tiles that are under way, for those who wait for a picture
  function underWay(more) {
    loading += more;
    byId("stage").dataset.loading = String(loading);
  }

  function tile(when, level, row, column, ask) {
    const address = `/pictures/${when}/${level}/${row}/${column}?v=${pictures[when][1]}`;
    let image = tiles.get(address);
    if (!image && !ask) return null;
    if (image) tiles.delete(address);
    else {
      image = new Image();
      underWay(1);
      image.addEventListener("load", () => { underWay(-1); redraw(); });
      image.addEventListener("error", () => underWay(-1));
      image.src = address;
    }
    tiles.set(address, image);
    if (tiles.size > MOST) tiles.delete(tiles.keys().next().value);
    return image.complete && image.naturalWidth ? image : null;
  }

  // Where a tile lies, in pixels of the picture.
  function extent(level, row, column) {
    const size = TILE * 2 ** level, x = column * size, y = row * size;
    return { x, y, width: Math.min(size, map.columns - x), height: Math.min(size, map.rows - y) };
  }

  // A tile that is not there yet is shown by a coarser one that is.
  function paintTile(context, when, level, row, column, levels) {
    const to = extent(level, row, column), over = 0.5 / map.view.k; // no seams between tiles
    for (let up = 0; level + up < levels; up++) {
      const image = tile(when, level + up, row >> up, column >> up, up === 0 || level + up === levels - 1);
      if (!image) continue;
      const of = extent(level + up, row >> up, column >> up);
      const a = image.naturalWidth / of.width, b = image.naturalHeight / of.height;
      context.drawImage(image, (to.x - of.x) * a, (to.y - of.y) * b, to.width * a, to.height * b,
        to.x, to.y * map.tall, to.width + over, to.height * map.tall + over);
      return;
    }
  }

  function paintOne(context, when, from, to) {
    const [levels] = pictures[when], { view, tall } = map;
    const dense = view.k * (window.devicePixelRatio || 1);
    const level = Math.min(Math.max(Math.floor(Math.log2(1 / dense) + 0.3), 0), levels - 1);
    const size = TILE * 2 ** level;
    const left = Math.max(view.x + from / view.k, 0), right = Math.min(view.x + to / view.k, map.columns);
    const top = Math.max(view.y / tall, 0), bottom = Math.min((view.y + map.height / view.k) / tall, map.rows);
    if (left >= right || top >= bottom) return;
    context.save();
    context.beginPath();
    context.rect(left, top * tall, right - left, (bottom - top) * tall);
    context.clip();
    context.imageSmoothingEnabled = view.k < 3;
    for (let row = Math.floor(top / size); row * size < bottom; row++) {
      for (let column = Math.floor(left / size); column * size < right; column++) {
        paintTile(context, when, level, row, column, levels);
      }
    }
    context.restore();
  }

  function place() {
    const swiping = side === "both", at = share * map.width, divider = byId("divider");
    divider.hidden = !swiping;
    divider.style.left = `${at}px`;
    divider.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    divider.setAttribute("aria-valuetext", `${Math.round(100 * share)} % of the map shows what was before`);
    const before = byId("side-before"), after = byId("side-after");
    before.hidden = !pictures.before || side === "after";
    after.hidden = !pictures.after || side === "before";
    before.style.left = swiping ? "" : "50%";
    before.style.right = swiping ? `${map.width - at + 10}px` : "";
    after.style.left = swiping ? `${at + 10}px` : "50%";
    byId("stage").dataset.side = side;
  }

  function paint(context) {
    place();
    const at = share * map.width;
    if (side !== "both") { if (pictures[side]) paintOne(context, side, 0, map.width); return; }
    paintOne(context, "before", 0, at);
    paintOne(context, "after", at, map.width);
  }

  function move(to) {
    if (!both) return;
    share = Math.min(Math.max(to, 0), 1);
    side = "both";
    redraw();
  }

  const divider = byId("divider");
  divider.addEventListener("pointerdown", (event) => { divider.setPointerCapture(event.pointerId); });
  divider.addEventListener("mousedown", (event) => event.preventDefault()); // who drags it goes on with the arrow keys for the polygons
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = byId("stage").getBoundingClientRect();
    move((event.clientX - box.left) / box.width);
  });
  divider.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.05, ArrowRight: 0.05 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    move(share + step);
  });

  return {
    paint,
    swipe: () => move(share),
    flick() { if (both) { side = side === "before" ? "after" : "before"; redraw(); } },
  };
}
