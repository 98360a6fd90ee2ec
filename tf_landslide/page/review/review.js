"use strict";
(async () => {
  const byId = (id) => document.getElementById(id);
  const STATUSES = ["unreviewed", "accepted", "rejected", "redrawn", "added"];
  const COLOURS = { unreviewed: "#ffd400", accepted: "#2ee86b", rejected: "#ff5a4f", redrawn: "#38bdf8", added: "#d58bff" };
  const NEARBY = 40; // pixels of the scene that are seen around a small polygon, at least

  const state = await (await fetch("/state")).json();
  const polygons = new Map(); // by number
  let sequence = state.sequence, current = null, outlines = true;

  const map = makeMap(state.map, { paint, clicked, moved: (at) => drawing.moved(at) });
  const pictures = makePictures(map, state.pictures, map.redraw);
  const drawing = makeDrawing(map);

  /* what is decided */

  for (const given of state.polygons) {
    const own = map.shape(given.rings);
    polygons.set(given.id, { ...given, ...own, own, stated: given.area, status: "unreviewed", comment: "", time: "" });
  }
  state.decisions.forEach(take);

  // A decision as the server tells it. Returns its polygon; null of an added one that is undone.
  function take(decision) {
    const { polygon: id, status, rings, area, comment, time } = decision;
    if (status === null) { polygons.delete(id); return null; }
    const before = polygons.get(id) || { id, confidence: null, own: null };
    const polygon = { ...before, ...(rings ? map.shape(rings) : before.own), area: area ?? before.stated, status, comment, time };
    polygons.set(id, polygon);
    return polygon;
  }

  // What is asked of the server is asked one after the other: keys may come quicker than the disk.
  let last = Promise.resolve();
  function queue(action) {
    last = last.then(action).catch((error) => say(error.message, true));
    return last;
  }

  async function post(where, what) {
    let answer, told;
    try {
      answer = await fetch(where, {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ ...what, sequence }),
      });
      told = await answer.json();
    } catch {
      throw new Error("Not saved: the server does not answer. Start tf-landslide review again, then reload the page.");
    }
    if (answer.status === 409) { location.reload(); throw new Error("Decided in another window: the page is read anew."); }
    if (!answer.ok) throw new Error(`Not saved: ${told.error}`);
    if ("sequence" in told) sequence = told.sequence;
    return told;
  }

  async function decide(what) {
    const told = await post("/decide", what);
    return take(told.decision);
  }

  const verdict = (status) => queue(async () => {
    if (!current) return;
    const decided = await decide({ polygon: current.id, status, comment: byId("comment").value });
    say(`${nameOf(decided)}: ${decided.status}`);
    current = decided;
    select(following(1, (polygon) => polygon.status === "unreviewed") || decided);
  });

  const undo = () => queue(async () => {
    const { decision } = await post("/undo", {});
    if (!decision) { say("There is nothing to undo."); return; }
    const polygon = take(decision);
    say(polygon ? `Undone: ${nameOf(polygon)} is ${polygon.status}` : `Undone: polygon ${decision.polygon} is gone`);
    select(polygon || following(-1) || null);
  });

  const comment = () => queue(async () => {
    const text = byId("comment").value;
    if (!current || text === current.comment) return;
    current = await decide({ polygon: current.id, comment: text });
    say("Comment saved.");
    showCurrent();
  });

  const close = () => queue(async () => {
    const corners = drawing.corners, target = drawing.target;
    if (corners.length < 3) { say("An outline has three corners at least."); return; }
    const text = target ? byId("comment").value : "";
    const decided = await decide({ polygon: target && target.id, status: target ? "redrawn" : "added", corners, comment: text });
    drawing.leave();
    say(`${nameOf(decided)}: ${decided.status}`);
    select(decided, false);
  });

  const exported = () => queue(async () => {
    const { files } = await post("/export", {});
    say(`Written: ${files.join(", ")}`);
  });

  /* which is next */

  const number = (id) => (byId(id).value === "" ? null : Number(byId(id).value));

  // What tells, of a polygon, whether it passes the filter as it is set now.
  function filter() {
    const statuses = new Set([...document.querySelectorAll("#statuses input:checked")].map((box) => box.value));
    const range = (id, scale = 1) => {
      const [from, to] = [number(`${id}-from`), number(`${id}-to`)];
      return (value) => (from === null && to === null)
        || (value !== null && value / scale >= (from ?? -Infinity) && value / scale <= (to ?? Infinity));
    };
    const sure = range("confidence"), large = range("area", 1e4);
    return (polygon) => statuses.has(polygon.status) && sure(polygon.confidence) && large(polygon.area);
  }

  function ordered() {
    const by = {
      id: (p) => p.id, sure: (p) => -(p.confidence ?? -1), doubtful: (p) => p.confidence ?? 2,
      large: (p) => -(p.area ?? 0), small: (p) => p.area ?? Infinity,
    }[byId("order").value];
    return [...polygons.values()].sort((a, b) => by(a) - by(b) || a.id - b.id);
  }

  // The next one of the filter behind or before the current one, whether that passes or not; round the end.
  function following(step, wanted = () => true) {
    const passes = filter(), all = ordered(), n = all.length, here = current ? all.findIndex((p) => p.id === current.id) : step > 0 ? -1 : 0;
    for (let i = 1; i <= n; i++) {
      const polygon = all[(((here + step * i) % n) + n) % n];
      if (passes(polygon) && wanted(polygon) && polygon.id !== current?.id) return polygon;
    }
    return null;
  }

  const go = (step) => queue(async () => {
    const next = following(step);
    if (next) select(next); else say("No other polygon passes the filter.");
  });

  /* what is shown */

  const many = (count) => count.toLocaleString("en");
  const nameOf = (polygon) => `Polygon ${polygon.id}`;
  const text = (parent, kind, words) => {
    const element = document.createElement(kind);
    element.textContent = words;
    parent.append(element);
    return element;
  };

  function select(polygon, move = true) {
    current = polygon;
    byId("comment").value = polygon ? polygon.comment : "";
    history.replaceState(null, "", polygon ? `#${polygon.id}` : "#");
    if (polygon && move) centre();
    showCurrent();
    showAttributes(polygon);
  }

  async function showAttributes(polygon) {
    const list = byId("attributes");
    const told = polygon && polygon.own ? await (await fetch(`/polygons/${polygon.id}`)).json() : [];
    if (current?.id !== polygon?.id) return; // another one has been chosen meanwhile
    list.replaceChildren();
    for (const [name, value] of told) { text(list, "dt", name); text(list, "dd", value); }
    byId("nothing").hidden = told.length > 0;
  }

  function centre() {
    if (current) map.showShape(current, 1, NEARBY, 12);
  }

  function showCurrent() {
    const passing = ordered().filter(filter()), at = current ? passing.findIndex((p) => p.id === current.id) : -1;
    byId("title").textContent = current ? nameOf(current) : "Nothing here";
    const status = byId("status");
    status.textContent = current ? current.status : "";
    status.className = current ? current.status : "";
    const facts = [];
    if (current && current.confidence !== null) facts.push(`confidence ${current.confidence.toFixed(2)}`);
    if (current && current.area !== null) facts.push(`${(current.area / 1e4).toFixed(2)} ha`);
    facts.push(at < 0 ? `not of the ${many(passing.length)} that pass the filter` : `${many(at + 1)} of ${many(passing.length)}`);
    byId("position").textContent = facts.join(" · ");
    const counts = Object.fromEntries(STATUSES.map((name) => [name, 0]));
    for (const polygon of polygons.values()) counts[polygon.status]++;
    for (const name of STATUSES) byId(`count-${name}`).textContent = many(counts[name]);
    const judged = [...polygons.values()].filter((p) => p.own && p.status !== "unreviewed").length;
    byId("done").value = state.polygons.length ? judged / state.polygons.length : 1;
    byId("progress").textContent = `${many(judged)} of ${many(state.polygons.length)} reviewed` + (counts.added ? `, ${counts.added} added` : "");
    for (const id of ["accept", "reject", "redraw", "comment"]) byId(id).disabled = !current;
    map.redraw();
  }

  let quiet;
  function say(words, bad = false) {
    const message = byId("message");
    message.textContent = words;
    message.className = bad ? "bad" : "";
    message.hidden = false;
    clearTimeout(quiet);
    if (!bad && !drawing.on) quiet = setTimeout(() => { message.hidden = true; }, 2500);
  }

  function paint(context) {
    pictures.paint(context);
    if (outlines) paintOutlines(context);
    drawing.paint(context);
  }

  function paintOutlines(context) {
    const seen = map.seen([...polygons.values()].filter((p) => p !== current));
    for (const status of STATUSES) {
      const those = seen.filter((polygon) => polygon.status === status);
      context.setLineDash(status === "rejected" ? [6 / map.view.k, 4 / map.view.k] : []);
      map.outline(those, [["rgba(0,0,0,.6)", 3], [COLOURS[status], 1.5]]);
    }
    context.setLineDash([]);
    if (!current) return;
    if (current.own && current.path !== current.own.path) { // what it was before it was redrawn
      context.setLineDash([4 / map.view.k, 4 / map.view.k]);
      map.outline([current.own], [["rgba(0,0,0,.6)", 2.5], ["#ffd400", 1.2]]);
      context.setLineDash([]);
    }
    map.outline([current], [["#000", 6.5], ["#fff", 4.5], [COLOURS[current.status], 2.5]]);
  }

  function clicked(at, event) {
    const corner = map.pixelAt(at), found = outlines ? map.under([...polygons.values()].filter(filter()), at, event) : null;
    queue(() => { if (drawing.on) drawing.add(corner); else if (found) select(polygons.get(found.id), false); });
  }

  function begin(polygon) {
    drawing.begin(polygon);
    say(`${polygon ? `${nameOf(polygon)} anew` : "A new polygon"}: click its corners; Enter closes, Backspace takes back, Escape leaves.`);
  }

  function leave() {
    drawing.leave();
    say("Left; nothing has changed.");
  }

  const compare = () => queue(async () => {
    const answer = await fetch("/agreement"), told = await answer.json(), box = byId("agreement");
    if (!answer.ok) throw new Error(told.error);
    box.replaceChildren();
    for (const found of told) {
      text(box, "h3", `You and ${found.b}`);
      const list = text(box, "dl", ""), share = (value) => (value === null ? "–" : value.toFixed(2));
      const rows = [
        ["both judged", String(found.both)],
        ["same status", `${found.same}`],
        ["kappa, status", share(found.kappa)],
        ["kappa, landslide or not", share(found.kappa_landslide)],
        ["shapes redrawn, mean IoU", found.redrawn ? `${share(found.redrawn_iou)} of ${found.redrawn}` : "–"],
        ["added by you, by them, the same", found.added.join(", ")],
      ];
      for (const [name, value] of rows) { text(list, "dt", name); text(list, "dd", value); }
      if (found.disagreements.length) text(box, "p", "You differ on:");
      for (const one of found.disagreements) {
        const button = text(box, "button", `${one.polygon}: ${one.a} / ${one.b}`);
        button.type = "button";
        button.addEventListener("click", () => queue(() => select(polygons.get(one.polygon))));
      }
    }
  });

  /* keys and buttons */

  const actions = {
    a: () => verdict("accepted"), r: () => verdict("rejected"), u: undo,
    d: () => queue(() => current && begin(current)), n: () => queue(() => begin(null)),
    j: () => go(1), k: () => go(-1), c: () => byId("comment").focus(), e: exported,
    f: centre, o: () => { outlines = !outlines; map.redraw(); },
    " ": pictures.flick, s: pictures.swipe, "?": () => byId("help").showModal(),
    "+": () => map.zoom(1.5), "=": () => map.zoom(1.5), "-": () => map.zoom(1 / 1.5), 0: map.showAll,
  };
  const also = { ArrowRight: "j", ArrowDown: "j", ArrowLeft: "k", ArrowUp: "k", h: "?" };
  const whileDrawing = { Enter: close, Backspace: () => queue(drawing.back), Escape: () => queue(leave) };
  const LOOKING = [" ", "s", "o", "?", "+", "=", "-", "0", "f"]; // what may be done while drawing, too

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const where = event.target;
    if (where.id === "comment") {
      if (event.key === "Escape") { event.preventDefault(); where.blur(); }
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (where.matches("input, select")) {
      if (event.key === "Escape") where.blur();
      const itsOwn = where.type === "checkbox" ? key === " " : where.type !== "number" || !"ardnujkcfos?".includes(key);
      if (itsOwn) return;
    }
    const drawn = drawing.on ? whileDrawing[key] : null;
    if (where.matches("button") && !drawn && (key === " " || key === "Enter")) return; // which press it
    const name = also[key] || key, action = drawn || actions[name];
    if (!action || (event.repeat && !["j", "k", "+", "=", "-", "Backspace"].includes(name))) return;
    event.preventDefault();
    if (drawing.on && !drawn && !LOOKING.includes(name)) { say("First close the outline with Enter, or leave it with Escape."); return; }
    action();
  });

  const buttons = {
    accept: "a", reject: "r", redraw: "d", new: "n", undo: "u", previous: "k", next: "j", flick: " ", export: "e", ask: "?",
  };
  for (const [id, key] of Object.entries(buttons)) {
    byId(id).addEventListener("click", (event) => {
      if (drawing.on && !LOOKING.includes(key)) say("First close the outline with Enter, or leave it with Escape.");
      else actions[key]();
      if (event.detail) event.currentTarget.blur(); // a mouse's click: the next key is not for the button
    });
  }
  byId("comment").addEventListener("change", comment);
  byId("compare").addEventListener("click", compare);
  for (const input of document.querySelectorAll("#statuses input, .range input, .range select")) {
    input.addEventListener("input", showCurrent);
  }
  byId("alone").hidden = state.others.length > 0;
  byId("compare").hidden = state.others.length === 0;
  byId("flick").disabled = !(state.pictures.before && state.pictures.after);

  const asked = polygons.get(Number(location.hash.slice(1)));
  const first = asked || following(1, (polygon) => polygon.status === "unreviewed") || following(1);
  map.start(() => { map.showAll(); queue(() => select(first)); });
})();
