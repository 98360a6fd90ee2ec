"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const canvas = byId("map"), context = canvas.getContext("2d");
  const [columns, rows] = data.size;
  const middle = data.pixelWidths[(data.pixelWidths.length - 1) / 2];
  const tall = data.pixelHeight / middle; // a pixel's height over its width; the map is drawn in pixel widths
  const LISTED = 50, DEEPEST = 40; // landslides in the list; screen pixels to a pixel of the scene, at most

  // x and y: what of the map lies in the stage's upper left corner; k: screen pixels to a pixel's width
  const view = { x: 0, y: 0, k: 1 };
  let width = 1, height = 1, selected = null, waiting = false;

  const landslides = data.landslides.map((landslide) => {
    const path = new Path2D();
    let west = Infinity, east = -Infinity, north = Infinity, south = -Infinity;
    for (const ring of landslide.rings) {
      for (let i = 0; i < ring.length; i += 2) {
        const x = ring[i], y = ring[i + 1] * tall;
        if (i === 0) path.moveTo(x, y); else path.lineTo(x, y);
        west = Math.min(west, x); east = Math.max(east, x);
        north = Math.min(north, y); south = Math.max(south, y);
      }
      path.closePath();
    }
    return { ...landslide, path, west, east, north, south };
  });

  const layer = (id) => ({
    on: byId(`show-${id}`).checked,
    opacity: Number(byId(`opacity-${id}`).value) / 100,
  });

  function draw() {
    waiting = false;
    const dense = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(dense * view.k, 0, 0, dense * view.k, -dense * view.k * view.x, -dense * view.k * view.y);
    context.imageSmoothingEnabled = view.k * data.pictureSize[0] / byId("image-picture").naturalWidth < 3;
    context.save();
    context.beginPath();
    context.rect(0, 0, columns, rows * tall);
    context.clip();
    for (const id of ["picture", "probability", "mask"]) {
      const { on, opacity } = layer(id), image = byId(`image-${id}`);
      if (!on || !image.complete || !image.naturalWidth) continue;
      context.globalAlpha = opacity;
      context.drawImage(image, 0, 0, data.pictureSize[0], data.pictureSize[1] * tall);
    }
    context.restore();
    const { on, opacity } = layer("outlines");
    if (on) drawOutlines(opacity);
    drawScale();
  }

  function drawOutlines(opacity) {
    const right = view.x + width / view.k, bottom = view.y + height / view.k;
    const seen = landslides.filter((l) => l.east > view.x && l.west < right && l.south > view.y && l.north < bottom);
    context.globalAlpha = opacity;
    context.lineJoin = "round";
    for (const [colour, thickness] of [["rgba(0,0,0,.65)", 3.5], ["#ffd400", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = thickness / view.k;
      for (const landslide of seen) context.stroke(landslide.path);
    }
    if (selected) {
      context.fillStyle = "rgba(0,229,255,.25)";
      context.fill(selected.path, "evenodd");
      for (const [colour, thickness] of [["#000", 5.5], ["#00e5ff", 3]]) {
        context.strokeStyle = colour;
        context.lineWidth = thickness / view.k;
        context.stroke(selected.path);
      }
    }
    context.globalAlpha = 1;
  }

  // Metres to a pixel's width at a row: of degrees they grow less towards the poles.
  function widthAt(row) {
    const at = Math.min(Math.max(row / Math.max(rows - 1, 1), 0), 1) * (data.pixelWidths.length - 1);
    const i = Math.min(Math.floor(at), data.pixelWidths.length - 2);
    return data.pixelWidths[i] + (at - i) * (data.pixelWidths[i + 1] - data.pixelWidths[i]);
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

  function select(landslide, move) {
    selected = landslide;
    byId("details").hidden = !landslide;
    for (const button of byId("largest").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(landslide !== null && Number(button.dataset.id) === landslide.id));
    }
    if (landslide) {
      byId("details-title").textContent = `Landslide ${landslide.id}`;
      const list = byId("attributes");
      list.replaceChildren();
      data.fields.forEach(([, label], i) => {
        if (landslide.values[i] === null) return;
        const term = document.createElement("dt"), value = document.createElement("dd");
        term.textContent = label;
        value.textContent = landslide.values[i];
        list.append(term, value);
      });
      if (move) {
        const border = 0.6 * Math.max(landslide.east - landslide.west, landslide.south - landslide.north, 8);
        show(landslide.west - border, landslide.north - border, landslide.east + border, landslide.south + border, DEEPEST);
      }
    }
    redraw();
  }

  // The smallest landslide under a place on the screen; its outline counts by some pixels, and more under a finger.
  function under(x, y, reach) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    const at = [view.x + x / view.k, view.y + y / view.k];
    context.lineWidth = 2 * reach / view.k;
    const size = (l) => (l.east - l.west) * (l.south - l.north);
    const hit = landslides.filter((l) => at[0] > l.west - reach / view.k && at[0] < l.east + reach / view.k
      && at[1] > l.north - reach / view.k && at[1] < l.south + reach / view.k
      && (context.isPointInPath(l.path, at[0], at[1], "evenodd") || context.isPointInStroke(l.path, at[0], at[1])));
    return hit.sort((a, b) => size(a) - size(b))[0] || null;
  }

  function tell(x, y) {
    const [a, c, e, f] = data.transform;
    const column = view.x + x / view.k, row = (view.y + y / view.k) / tall;
    const inside = column >= 0 && row >= 0 && column <= columns && row <= rows;
    const digits = data.geographic ? 5 : 0;
    byId("place").textContent = inside ? `${(c + a * column).toFixed(digits)}, ${(f + e * row).toFixed(digits)} (${data.crs})` : "";
  }

  // Mouse, pen and fingers.
  const pointers = new Map();
  let moved = 0;
  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, placeOf(event));
    if (pointers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = placeOf(event), before = pointers.get(event.pointerId);
    tell(now.x, now.y);
    if (!before) return;
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    if (others.length === 1) {
      const [other] = others, apart = (p) => Math.hypot(p.x - other.x, p.y - other.y);
      zoom(apart(now) / Math.max(apart(before), 1), (now.x + other.x) / 2, (now.y + other.y) / 2);
      pan((now.x - before.x) / 2, (now.y - before.y) / 2);
      moved = Infinity;
    } else if (others.length === 0) {
      moved += Math.hypot(now.x - before.x, now.y - before.y);
      pan(now.x - before.x, now.y - before.y);
    }
    pointers.set(event.pointerId, now);
  });
  canvas.addEventListener("pointerup", (event) => {
    const at = placeOf(event);
    pointers.delete(event.pointerId);
    if (moved < 5) select(layer("outlines").on ? under(at.x, at.y, event.pointerType === "touch" ? 12 : 4) : null, false);
  });
  canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => { byId("place").textContent = ""; });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { x, y } = placeOf(event);
    zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0015)), x, y);
  }, { passive: false });

  const keys = {
    ArrowLeft: () => pan(80, 0), ArrowRight: () => pan(-80, 0), ArrowUp: () => pan(0, 80), ArrowDown: () => pan(0, -80),
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: showAll, Escape: () => select(null, false),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  byId("in").addEventListener("click", () => zoom(1.6));
  byId("out").addEventListener("click", () => zoom(1 / 1.6));
  byId("all").addEventListener("click", showAll);
  byId("close").addEventListener("click", () => { select(null, false); canvas.focus(); });
  for (const id of ["outlines", "mask", "probability", "picture"]) {
    byId(`show-${id}`).addEventListener("change", redraw);
    byId(`opacity-${id}`).addEventListener("input", redraw);
  }

  const area = data.fields.findIndex(([name]) => name === "area_ha");
  for (const landslide of landslides.slice(0, LISTED)) {
    const item = document.createElement("li"), button = document.createElement("button");
    const name = document.createElement("span"), size = document.createElement("span");
    button.type = "button";
    button.dataset.id = String(landslide.id);
    button.setAttribute("aria-pressed", "false");
    name.textContent = `Landslide ${landslide.id}`;
    size.textContent = landslide.values[area];
    button.append(name, size);
    button.addEventListener("click", () => select(landslide, true));
    item.append(button);
    byId("largest").append(item);
  }
  byId("none").hidden = landslides.length > 0;

  const bar = byId("bar").getContext("2d"), shades = bar.createLinearGradient(0, 0, 256, 0);
  data.palette.forEach((colour, i) => shades.addColorStop(i / (data.palette.length - 1), colour));
  bar.fillStyle = shades;
  bar.fillRect(0, 0, 256, 14);
  for (const [colour, thickness] of [["#000", 4], ["#fff", 2]]) {
    bar.fillStyle = colour;
    bar.fillRect(Math.min(Math.max(data.threshold * 256 - thickness / 2, 0), 256 - thickness), 0, thickness, 14);
  }
  byId("needle").setAttribute("transform", `rotate(${data.north})`);

  let placed = false;
  new ResizeObserver(() => {
    const box = byId("stage").getBoundingClientRect(), dense = window.devicePixelRatio || 1;
    if (!box.width || !box.height) return;
    const centre = { x: view.x + width / 2 / view.k, y: view.y + height / 2 / view.k };
    [width, height] = [box.width, box.height];
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    if (!placed) { placed = true; showAll(); return; }
    view.x = centre.x - width / 2 / view.k;
    view.y = centre.y - height / 2 / view.k;
    keepInside();
    draw();
  }).observe(byId("stage"));
  for (const image of document.images) image.addEventListener("load", redraw);
  redraw();
})();
