"use strict";
/* An outline that is drawn corner by corner. */
function makeDrawing(map) {
  const stage = document.getElementById("stage");
  let corners = null; // columns and rows; null while nothing is drawn
  let target = null; // the polygon that is redrawn; null for a new one
  let pointer = null;

  function paint(context) {
    if (!corners || !corners.length) return;
    const at = ([column, row]) => [column, row * map.tall];
    const path = new Path2D();
    corners.forEach((corner, i) => { if (i) path.lineTo(...at(corner)); else path.moveTo(...at(corner)); });
    if (pointer) path.lineTo(...at(map.pixelAt(pointer)));
    map.outline([{ path }], [["#000", 4.5], ["#fff", 2.5]]);
    context.save();
    context.globalAlpha = 0.25;
    context.fillStyle = "#fff";
    context.fill(path);
    context.restore();
    const radius = 4 / map.view.k;
    for (const corner of corners) {
      const dot = new Path2D(), [x, y] = at(corner);
      dot.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = "#fff";
      context.fill(dot);
      map.outline([{ path: dot }], [["#000", 1.5]]);
    }
  }

  function begin(polygon) {
    [corners, target, pointer] = [[], polygon, null];
    stage.classList.add("drawing");
    map.redraw();
  }

  function leave() {
    corners = null;
    stage.classList.remove("drawing");
    map.redraw();
  }

  return {
    paint, begin, leave,
    get on() { return corners !== null; },
    get target() { return target; },
    get corners() { return corners; },
    add(corner) { corners.push(corner); map.redraw(); },
    back() { corners.pop(); map.redraw(); },
    moved(at) { if (corners) { pointer = at; map.redraw(); } },
  };
}
