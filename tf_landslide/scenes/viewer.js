"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const LISTED = 50; // landslides in the list
  let selected = null;

  const map = makeMap(data, {
    paint,
    clicked: (at, event) => select(layer("outlines").on ? map.under(landslides, at, event) : null, false),
  });
  const landslides = data.landslides.map((landslide) => ({ ...landslide, ...map.shape(landslide.rings) }));

  function layer(id) {
    return { on: byId(`show-${id}`).checked, opacity: Number(byId(`opacity-${id}`).value) / 100 };
  }

  function paint(context) {
    context.imageSmoothingEnabled = map.view.k * data.pictureSize[0] / byId("image-picture").naturalWidth < 3;
    context.save();
    context.beginPath();
    context.rect(0, 0, map.columns, map.rows * map.tall);
    context.clip();
    for (const id of ["picture", "probability", "mask"]) {
      const { on, opacity } = layer(id), image = byId(`image-${id}`);
      if (!on || !image.complete || !image.naturalWidth) continue;
      context.globalAlpha = opacity;
      context.drawImage(image, 0, 0, data.pictureSize[0], data.pictureSize[1] * map.tall);
    }
    context.restore();
    const { on, opacity } = layer("outlines");
    if (on) paintOutlines(context, opacity);
  }

  function paintOutlines(context, opacity) {
    context.globalAlpha = opacity;
    map.outline(map.seen(landslides), [["rgba(0,0,0,.65)", 3.5], ["#ffd400", 1.5]]);
    if (selected) {
      context.fillStyle = "rgba(0,229,255,.25)";
      context.fill(selected.path, "evenodd");
      map.outline([selected], [["#000", 5.5], ["#00e5ff", 3]]);
    }
    context.globalAlpha = 1;
  }

  function select(landslide, move) {
    selected = landslide;
    byId("details").hidden = !landslide;
    for (const button of byId("largest").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(landslide !== null && Number(button.dataset.id) === landslide.id));
    }
    if (landslide) {
      byId("details-title").textContent = `${data.one} ${landslide.id}`;
      const list = byId("attributes");
      list.replaceChildren();
      data.fields.forEach(([, label], i) => {
        if (landslide.values[i] === null) return;
        const term = document.createElement("dt"), value = document.createElement("dd");
        term.textContent = label;
        value.textContent = landslide.values[i];
        list.append(term, value);
      });
      if (move) map.showShape(landslide);
    }
    map.redraw();
  }

  const keys = {
    ArrowLeft: () => map.pan(80, 0), ArrowRight: () => map.pan(-80, 0),
    ArrowUp: () => map.pan(0, 80), ArrowDown: () => map.pan(0, -80),
    "+": () => map.zoom(1.5), "=": () => map.zoom(1.5), "-": () => map.zoom(1 / 1.5),
    0: map.showAll, Escape: () => select(null, false),
  };
  map.canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  byId("close").addEventListener("click", () => { select(null, false); map.canvas.focus(); });
  for (const id of ["outlines", "mask", "probability", "picture"]) {
    byId(`show-${id}`).addEventListener("change", map.redraw);
    byId(`opacity-${id}`).addEventListener("input", map.redraw);
  }

  const area = data.fields.findIndex(([name]) => name === "area_ha");
  for (const landslide of landslides.slice(0, LISTED)) {
    const item = document.createElement("li"), button = document.createElement("button");
    const name = document.createElement("span"), size = document.createElement("span");
    button.type = "button";
    button.dataset.id = String(landslide.id);
    button.setAttribute("aria-pressed", "false");
    name.textContent = `${data.one} ${landslide.id}`;
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

  for (const image of document.images) image.addEventListener("load", map.redraw);
  map.start();
})();
