"use strict";
/* A map on a canvas: pan, zoom, scale bar, coordinates, outlines. map.html and the page of reviews draw on it.

   geometry: what canvas.py's map_geometry gives. options: paint(context, map) draws, in pixel widths, what is seen;
   clicked(at, event) is told of a click, moved(at) of the pointer: {x, y} on the stage. */
function makeMap(geometry, { paint, clicked, moved = () => {} }) {
  const byId = (id) => document.getElementById(id);
  const canvas = byId("map"), context = canvas.getContext("2d");
  const [columns, rows] = geometry.size;
  const middle = geometry.pixelWidths[(geometry.pixelWidths.length - 1) / 2];
  const tall = geometry.pixelHeight / middle; // a pixel's height over its width; the map is drawn in pixel widths
  const DEEPEST = 40; // screen pixels to a pixel of the scene, at most

  // x and y: what of the map lies in the stage's upper left corner; k: screen pixels to a pixel's width
  const view = { x: 0, y: 0, k: 1 };
  let width = 1, height = 1, waiting = false;

  // Rings, each of columns and rows in turn, as one path and its bounds.
  function shape(rings) {
    const path = new Path2D();
    let west = Infinity, east = -Infinity, north = Infinity, south = -Infinity;
    for (const ring of rings) {
      for (let i = 0; i < ring.length; i += 2) {
        const x = ring[i], y = ring[i + 1] * tall;
        if (i === 0) path.moveTo(x, y); else path.lineTo(x, y);
        west = Math.min(west, x); east = Math.max(east, x);
        north = Math.min(north, y); south = Math.max(south, y);
      }
      path.closePath();
    }
    return { path, west, east, north, south };
  }

  function draw() {
    waiting = false;
    const dense = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(dense * view.k, 0, 0, dense * view.k, -dense * view.k * view.x, -dense * view.k * view.y);
    paint(context, map);
    drawScale();
  }

  // Strokes: colours and thicknesses in screen pixels, the lowest first.
  function outline(shapes, strokes) {
    context.lineJoin = "round";
    for (const [colour, thickness] of strokes) {
      context.strokeStyle = colour;
      context.lineWidth = thickness / view.k;
      for (const { path } of shapes) context.stroke(path);
    }
  }

  function seen(shapes) {
    const right = view.x + width / view.k, bottom = view.y + height / view.k;
    return shapes.filter((s) => s.east > view.x && s.west < right && s.south > view.y && s.north < bottom);
  }

  // Metres to a pixel's width at a row: of degrees they grow less towards the poles.
  function widthAt(row) {
    const at = Math.min(Math.max(row / Math.max(rows - 1, 1), 0), 1) * (geometry.pixelWidths.length - 1);
    const i = Math.min(Math.floor(at), geometry.pixelWidths.length - 2);
    return geometry.pixelWidths[i] + (at - i) * (geometry.pixelWidths[i + 1] - geometry.pixelWidths[i]);
  }

  function drawScale() {
    const row = (view.y + height / 2 / view.k) / tall;
    const metres = widthAt(row) / view.k; // of a screen pixel
    const most = metres * Math.min(160, width / 3), power = 10 ** Math.floor(Math.log10(most));
    const length = power * Math.max(...[1, 2, 5].filter((step) => step * power <= most));
    const text = length >= 1000 ? `${length / 1000} km` : `${length} m`;
    byId("length").textContent = text;
    byId("ruler").style.width = `${length / metres}px`;
    byId("scale").setAttribute("aria-label", `Scale: the bar is ${text} long`);
    byId("scale").dataset.metresPerPixel = String(metres);
  }

  function redraw() {
    if (!waiting) { waiting = true; requestAnimationFrame(draw); }
  }

  const whole = () => Math.min(width / columns, height / (rows * tall)) * 0.96;

  function keepInside() {
    view.k = Math.min(Math.max(view.k, whole() / 2), Math.max(DEEPEST, whole()));
    const wide = width / view.k, high = height / view.k;
    view.x = Math.min(Math.max(view.x, -wide / 2), columns - wide / 2);
    view.y = Math.min(Math.max(view.y, -high / 2), rows * tall - high / 2);
  }

  function show(west, north, east, south, closest) {
    view.k = Math.min(width / Math.max(east - west, 1e-6), height / Math.max(south - north, 1e-6), closest);
    view.x = (west + east) / 2 - width / 2 / view.k;
    view.y = (north + south) / 2 - height / 2 / view.k;
    keepInside();
    redraw();
  }

  const showAll = () => show(0, 0, columns, rows * tall, whole());

  // A shape in the middle, with what lies around it: a share of its own size, and of `least` pixels of the scene.
  function showShape({ west, north, east, south }, around = 0.6, least = 8, closest = DEEPEST) {
    const border = around * Math.max(east - west, south - north, least);
    show(west - border, north - border, east + border, south + border, closest);
  }

  function zoom(factor, x = width / 2, y = height / 2) {
    const at = { x: view.x + x / view.k, y: view.y + y / view.k };
    view.k *= factor;
    keepInside();
    view.x = at.x - x / view.k;
    view.y = at.y - y / view.k;
    keepInside();
    redraw();
  }

  function pan(x, y) {
    view.x -= x / view.k;
    view.y -= y / view.k;
    keepInside();
    redraw();
  }

  // The smallest shape under a place on the screen; its outline counts by some pixels, and more under a finger.
  function under(shapes, at, event) {
    const reach = event.pointerType === "touch" ? 12 : 4;
    context.setTransform(1, 0, 0, 1, 0, 0);
    const x = view.x + at.x / view.k, y = view.y + at.y / view.k, slack = reach / view.k;
    context.lineWidth = 2 * slack;
    const size = (s) => (s.east - s.west) * (s.south - s.north);
    const hit = shapes.filter((s) => x > s.west - slack && x < s.east + slack && y > s.north - slack && y < s.south + slack
      && (context.isPointInPath(s.path, x, y, "evenodd") || context.isPointInStroke(s.path, x, y)));
    return hit.sort((a, b) => size(a) - size(b))[0] || null;
  }

  // Column and row of the scene at a place on the stage, and the other way.
  const pixelAt = ({ x, y }) => [view.x + x / view.k, (view.y + y / view.k) / tall];
  const placeOf = ([column, row]) => ({ x: (column - view.x) * view.k, y: (row * tall - view.y) * view.k });

  function tell(at) {
    const [a, c, e, f] = geometry.transform, [column, row] = pixelAt(at);
    const inside = column >= 0 && row >= 0 && column <= columns && row <= rows;
    const digits = geometry.geographic ? 5 : 0;
    byId("place").textContent = inside ? `${(c + a * column).toFixed(digits)}, ${(f + e * row).toFixed(digits)} (${geometry.crs})` : "";
  }

  // Mouse, pen and fingers.
  const pointers = new Map();
  let way = 0;
  const onStage = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, onStage(event));
    if (pointers.size === 1) way = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = onStage(event), before = pointers.get(event.pointerId);
    tell(now);
    moved(now);
    if (!before) return;
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    if (others.length === 1) {
      const [other] = others, apart = (p) => Math.hypot(p.x - other.x, p.y - other.y);
      zoom(apart(now) / Math.max(apart(before), 1), (now.x + other.x) / 2, (now.y + other.y) / 2);
      pan((now.x - before.x) / 2, (now.y - before.y) / 2);
      way = Infinity;
    } else if (others.length === 0) {
      way += Math.hypot(now.x - before.x, now.y - before.y);
      pan(now.x - before.x, now.y - before.y);
    }
    pointers.set(event.pointerId, now);
  });
  canvas.addEventListener("pointerup", (event) => {
    pointers.delete(event.pointerId);
    if (way < 5) clicked(onStage(event), event);
  });
  canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => { byId("place").textContent = ""; });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { x, y } = onStage(event);
    zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0015)), x, y);
  }, { passive: false });

  byId("in").addEventListener("click", () => zoom(1.6));
  byId("out").addEventListener("click", () => zoom(1 / 1.6));
  byId("all").addEventListener("click", showAll);
  byId("needle").setAttribute("transform", `rotate(${geometry.north})`);

  let placed = false;
  const map = {
    canvas, view, columns, rows, tall, shape, outline, seen, redraw, show, showAll, showShape, zoom, pan, under, pixelAt, placeOf,
    get width() { return width; },
    get height() { return height; },
    // Called once, when the caller is ready to paint: measures the stage, shows all of the map, follows its size.
    start(first = showAll) {
      new ResizeObserver(() => {
        const box = byId("stage").getBoundingClientRect(), dense = window.devicePixelRatio || 1;
        if (!box.width || !box.height) return;
        const centre = { x: view.x + width / 2 / view.k, y: view.y + height / 2 / view.k };
        [width, height] = [box.width, box.height];
        canvas.width = Math.round(width * dense);
        canvas.height = Math.round(height * dense);
        if (!placed) { placed = true; first(); return; }
        view.x = centre.x - width / 2 / view.k;
        view.y = centre.y - height / 2 / view.k;
        keepInside();
        draw();
      }).observe(byId("stage"));
      redraw();
    },
  };
  return map;
}
