"use strict";
// Volumes: three planes at right angles, window and level by dragging, slices by wheel, keys or cine;
// beside them their original, where that was named.

function showVolume(info) {
  const axes = info.axes;
  const count = (axis) => info.shape[axes.indexOf(axis)];
  const slope = typeof info.attributes.rescale_slope === "number" ? info.attributes.rescale_slope : 1;
  const intercept = typeof info.attributes.rescale_intercept === "number" ? info.attributes.rescale_intercept : 0;
  const channel = info.channels[0];
  const state = {
    at: { z: (count("z") - 1) >> 1, y: count("y") >> 1, x: count("x") >> 1 },
    low: channel.low, high: channel.high, place: { ...info.place }, playing: 0,
    beside: "stored", swipe: 0.5,
  };
  const inverted = info.attributes.photometric_interpretation === "MONOCHROME1";
  const spacing = { z: 1, y: 1, x: 1, ...info.spacing };
  const names = { z: "plane z", y: "plane y", x: "plane x" };
  const sides = { z: ["y", "x"], y: ["z", "x"], x: ["z", "y"] };  // rows, columns of each plane
  const kinds = { u1: Uint8Array, i1: Int8Array, u2: Uint16Array, i2: Int16Array, u4: Uint32Array, i4: Int32Array, f4: Float32Array };
  const planes = new Map();
  const stage = document.getElementById("stage");
  const panes = ["z", "y", "x"].map(pane);
  stage.append(made("div", { class: "panes" }, ...panes.map((one) => one.box)));

  function pane(axis) {
    const canvas = made("canvas", { tabindex: "0", "aria-label": names[axis] });
    const label = made("span", {});
    const one = { axis, canvas, label, box: made("div", { class: "pane" }, canvas, label), samples: null, left: null, beside: "stored" };
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); step(axis, event.deltaY > 0 ? 1 : -1); }, { passive: false });
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      from = { x: event.clientX, y: event.clientY, low: state.low, high: state.high, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) { value(one, event); return; }
      const dx = event.clientX - from.x, dy = event.clientY - from.y;
      if (Math.abs(dx) + Math.abs(dy) < 4 && !from.moved) return;
      from.moved = true;
      const width = Math.max(1, (from.high - from.low) * Math.exp(dx / 200));
      const center = (from.low + from.high) / 2 + dy * (from.high - from.low) / 300;
      window_(center - width / 2, center + width / 2);
    });
    canvas.addEventListener("pointerup", (event) => {
      if (from && !from.moved) cross(one, event);
      from = null;
    });
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "ArrowUp" || event.key === "PageUp") step(axis, event.key === "PageUp" ? 10 : 1);
      else if (event.key === "ArrowDown" || event.key === "PageDown") step(axis, event.key === "PageDown" ? -10 : -1);
      else if (event.key === " ") play();
      else return;
      event.preventDefault();
    });
    new ResizeObserver(() => draw(one)).observe(canvas);
    return one;
  }

  async function load(axis, number, of) {
    const parts = new URLSearchParams();
    const place = Object.entries(state.place).filter(([name]) => name !== "z").map(([name, at]) => `${name}:${at}`).join(",");
    if (place) parts.set("at", place);
    if (of) parts.set("of", of);
    const name = `${axis}/${number}/${parts}`;
    if (!planes.has(name)) {
      const answer = asked(`/api/plane/${axis}/${number}/${pathOf(info.key)}?${parts}`).then(async (one) => {
        const Kind = kinds[one.headers.get("x-dtype")];
        return { samples: new Kind(await one.arrayBuffer()), shape: one.headers.get("x-shape").split(",").map(Number) };
      });
      planes.set(name, answer);
      answer.catch(() => planes.delete(name));  // asked again when it is wanted again
      if (planes.size > 120) planes.delete(planes.keys().next().value);
    }
    return planes.get(name);
  }

  function wanted(one, number) {
    // What a pane shows, and what is left of the swipe.
    const { beside } = state;
    const main = load(one.axis, number, beside === "original" || beside === "difference" ? beside : "");
    return Promise.all([main, beside === "swipe" ? load(one.axis, number, "original") : null]);
  }

  async function show(one) {
    const number = state.at[one.axis], { beside } = state;
    try {
      const [samples, left] = await wanted(one, number);
      if (number !== state.at[one.axis] || beside !== state.beside) return;  // moved on meanwhile
      Object.assign(one, { samples, left, beside });
      draw(one);
      document.body.dataset.ready = "volume";
      if (number + 1 < count(one.axis)) wanted(one, number + 1).catch(() => {});
    } catch (error) { document.getElementById("status").textContent = error.message; }
  }

  function fitted(one) {
    // Where the plane lies in its canvas; rows along z go up, as heads do.
    const [rows, columns] = sides[one.axis];
    const width = count(columns) * spacing[columns], height = count(rows) * spacing[rows];
    const scale = Math.min(one.canvas.width / width, one.canvas.height / height);
    const w = width * scale, h = height * scale;
    return { x: (one.canvas.width - w) / 2, y: (one.canvas.height - h) / 2, w, h, up: rows === "z" };
  }

  function draw(one) {
    const ratio = window.devicePixelRatio || 1;
    one.canvas.width = Math.max(1, Math.round(one.canvas.clientWidth * ratio));
    one.canvas.height = Math.max(1, Math.round(one.canvas.clientHeight * ratio));
    one.label.textContent = `${one.axis} ${state.at[one.axis] + 1} / ${count(one.axis)}`;
    if (!one.samples) return;
    const [rows, columns] = one.samples.shape;
    const small = new OffscreenCanvas(columns, rows);
    const picture = new ImageData(columns, rows);
    const apart = one.beside === "difference";
    const low = apart ? 0 : state.low, span = apart ? worst : (state.high - state.low) || 1;
    const border = one.left ? Math.round(columns * state.swipe) : 0;
    for (let n = 0; n < rows * columns; n += 1) {
      const { samples } = n % columns < border ? one.left : one.samples;
      let grey = 255 * (samples[n] - low) / span;
      if (inverted && !apart) grey = 255 - grey;
      picture.data[4 * n] = picture.data[4 * n + 1] = picture.data[4 * n + 2] = grey;
      picture.data[4 * n + 3] = 255;
    }
    small.getContext("2d").putImageData(picture, 0, 0);
    const place = fitted(one), pen = one.canvas.getContext("2d");
    pen.save();
    if (place.up) { pen.translate(0, 2 * place.y + place.h); pen.scale(1, -1); }
    pen.drawImage(small, place.x, place.y, place.w, place.h);
    pen.restore();
    const [rowAxis, columnAxis] = sides[one.axis];
    const cx = place.x + place.w * (state.at[columnAxis] + 0.5) / columns;
    const ry = (state.at[rowAxis] + 0.5) / rows;
    const cy = place.y + place.h * (place.up ? 1 - ry : ry);
    pen.strokeStyle = "rgba(108, 178, 255, .55)";
    pen.beginPath();
    pen.moveTo(cx, place.y); pen.lineTo(cx, place.y + place.h);
    pen.moveTo(place.x, cy); pen.lineTo(place.x + place.w, cy);
    pen.stroke();
    if (!one.left) return;
    pen.strokeStyle = "#ffd60a";
    pen.beginPath();
    pen.moveTo(place.x + place.w * border / columns, place.y); pen.lineTo(place.x + place.w * border / columns, place.y + place.h);
    pen.stroke();
  }

  function placeOf(one, event) {
    const box = one.canvas.getBoundingClientRect(), place = fitted(one);
    const [rowAxis, columnAxis] = sides[one.axis];
    const across = ((event.clientX - box.left) * one.canvas.width / box.width - place.x) / place.w;
    let down = ((event.clientY - box.top) * one.canvas.height / box.height - place.y) / place.h;
    if (place.up) down = 1 - down;
    if (across < 0 || across >= 1 || down < 0 || down >= 1) return null;
    return { [rowAxis]: Math.floor(down * count(rowAxis)), [columnAxis]: Math.floor(across * count(columnAxis)) };
  }

  function cross(one, event) {
    const found = placeOf(one, event);
    if (!found) return;
    Object.assign(state.at, found);
    refresh();
  }

  function value(one, event) {
    const found = placeOf(one, event);
    if (!found || !one.samples) return;
    const [rowAxis, columnAxis] = sides[one.axis];
    const n = found[rowAxis] * one.samples.shape[1] + found[columnAxis];
    const at = { ...state.at, ...found };
    document.getElementById("status").textContent = `z ${at.z}, y ${at.y}, x ${at.x}   ${told(one, n)}`;
  }

  function told(one, n) {
    const units = info.attributes.units ? ` ${info.attributes.units}` : "";
    const sample = one.samples.samples[n];
    if (one.beside === "difference") return `off by ${Number((Math.abs(slope) * sample).toPrecision(6))}${units}`;
    const physical = (stored) => `${Number((slope * stored + intercept).toPrecision(6))}${units}`;
    if (one.left) return `original ${physical(one.left.samples[n])}, stored ${physical(sample)}`;
    return `${physical(sample)}${slope * sample + intercept !== sample ? ` (stored ${sample})` : ""}`;
  }

  function step(axis, by) {
    state.at[axis] = Math.min(count(axis) - 1, Math.max(0, state.at[axis] + by));
    refresh();
  }

  function refresh() {
    for (const one of panes) show(one);
    slider.value = state.at.z;
  }

  function window_(low, high) {
    state.low = low; state.high = Math.max(high, low + 1e-6);
    level.value = Number((slope * (low + high) / 2 + intercept).toPrecision(5));
    width.value = Number((Math.abs(slope) * (high - low)).toPrecision(5));
    for (const one of panes) draw(one);
  }

  function play() {
    if (state.playing) { clearInterval(state.playing); state.playing = 0; }
    else state.playing = setInterval(() => { state.at.z = (state.at.z + 1) % count("z"); refresh(); }, 100);
    cine.textContent = state.playing ? "Stop" : "Play";
  }

  const typed = () => {
    const center = (Number(level.value) - intercept) / slope, half = Number(width.value) / Math.abs(slope) / 2;
    if (Number.isFinite(center) && half > 0) { state.low = center - half; state.high = center + half; for (const one of panes) draw(one); }
  };
  const level = made("input", { type: "number", step: "any", "aria-label": "Level", oninput: typed });
  const width = made("input", { type: "number", step: "any", min: "0", "aria-label": "Width", oninput: typed });
  const worst = info.worst || 1;
  const slider = made("input", { type: "range", min: 0, max: count("z") - 1, "aria-label": "Slice", oninput: () => { state.at.z = Number(slider.value); refresh(); } });
  const cine = made("button", { type: "button", text: "Play", onclick: play });
  const panel = document.getElementById("controls");
  panel.append(
    made("fieldset", {}, made("legend", { text: "Window: level, width" }), made("div", { class: "row" }, level, width)),
    made("fieldset", {}, made("legend", { text: "Slice" }), made("div", { class: "row" }, slider, cine)),
  );
  const original = made("div", {});
  panel.append(original);
  if (info.original) besides();
  if (info.attributes.modality === "CT") {
    const known = { Brain: [40, 80], Lung: [-600, 1500], Bone: [400, 1800], Abdomen: [50, 400] };
    const buttons = Object.entries(known).map(([name, [center, wide]]) => made("button", { type: "button", text: name, onclick: () => {
      level.value = center; width.value = wide; typed();
    } }));
    panel.append(made("fieldset", {}, made("legend", { text: "Usual windows" }), made("div", { class: "row" }, ...buttons)));
  }
  for (const [axis, at] of Object.entries(state.place)) {
    if (axis === "z") continue;
    const range = made("input", { type: "range", min: 0, max: count(axis) - 1, value: at, "aria-label": axis, oninput: () => { state.place[axis] = Number(range.value); refresh(); } });
    panel.append(made("fieldset", {}, made("legend", { text: axis }), made("div", { class: "row" }, range)));
  }
  function besides() {
    const change = (beside) => { state.beside = beside; besides(); refresh(); };
    const slide = (swipe) => { state.swipe = swipe; for (const one of panes) draw(one); };
    original.replaceChildren(originalField(info, state, change, slide));
  }

  document.getElementById("keys").textContent = "Wheel or ↑ ↓ change the slice, drag changes window and level, click sets the cross, space plays.";
  window_(state.low, state.high);
  refresh();
}
