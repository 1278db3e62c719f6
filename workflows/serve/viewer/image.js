"use strict";
// Images of one plane at a time: deep zoom by tiles, channels, stretch, indices of bands, values.

// A number as its field has room for.
function legible(value) {
  return Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(4));
}

function showImage(info) {
  const state = {
    channels: info.channels.map((channel) => ({ ...channel })),
    index: null, formula: "",
    place: { ...info.place },
    beside: "stored", swipe: 0.5,
  };
  const top = Math.ceil(Math.log2(Math.max(info.width, info.height, 2)));
  const stage = document.getElementById("stage");
  stage.append(made("div", { id: "deep", tabindex: "0", "aria-label": "Image" }));

  function query() {
    const parts = new URLSearchParams();
    parts.set("c", state.channels.map((c) => `${c.band}:${c.low}:${c.high}:${c.color}`).join(";"));
    if (state.index) { parts.set("expression", state.index.text); parts.set("rescale", `${state.index.low},${state.index.high}`); }
    const place = Object.entries(state.place).map(([axis, at]) => `${axis}:${at}`).join(",");
    if (place) parts.set("at", place);
    return parts;
  }

  function source(of = "") {
    const asked = query();
    if (of) asked.set("of", of);
    return {
      width: info.width, height: info.height, tileSize: 256, tileOverlap: 0, minLevel: 0, maxLevel: top,
      getTileUrl: (level, x, y) => `/api/tile/${level}/${x}/${y}/${pathOf(info.key)}?${asked}`,
    };
  }

  const viewer = OpenSeadragon({
    element: document.getElementById("deep"), tileSources: source(), showNavigationControl: false,
    showNavigator: true, navigatorPosition: "BOTTOM_RIGHT", navigatorSizeRatio: 0.15, maxZoomPixelRatio: 32, imageSmoothingEnabled: false,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, drawer: "canvas", animationTime: 0.4,
  });
  viewer.addHandler("open", () => { document.body.dataset.ready = "image"; });
  viewer.addHandler("tile-load-failed", async (event) => {
    try { await asked(event.tile.getUrl()); } catch (error) { say(error.message); }
  });

  const redraw = later(150, () => {
    const alone = state.beside === "original" || state.beside === "difference" ? state.beside : "";
    viewer.removeOverlay("border");
    while (viewer.world.getItemCount() > 1) viewer.world.removeItem(viewer.world.getItemAt(1));
    viewer.addTiledImage({ tileSource: source(alone), index: 0, replace: true });
    if (state.beside === "swipe") viewer.addTiledImage({ tileSource: source("original"), success: cut });
  });
  function cut() {
    const over = viewer.world.getItemAt(1);
    viewer.removeOverlay("border");
    if (!over) return;
    viewer.addOverlay({
      element: made("div", { id: "border" }), location: new OpenSeadragon.Point(state.swipe, info.height / info.width / 2), placement: "CENTER",
    });
    over.setClip(new OpenSeadragon.Rect(0, 0, Math.max(1, info.width * state.swipe), info.height));
  }

  const status = document.getElementById("status");
  function say(text) { status.textContent = text; }

  const look = later(60, async (column, row) => {
    try {
      const { values, index } = await valueAt(row, column);
      const told = index === undefined ? "" : `   index: ${index === null ? "none" : Number(index.toPrecision(4))}`;
      say(`${where(column, row)}${told}   ${values.map((v, n) => (values.length > 1 ? `${info.bands[n].name}: ${v}` : v)).join("   ")}`);
    } catch (error) { say(error.message); }
  });

  async function valueAt(row, column, parts = query()) {
    parts.delete("c");
    return (await asked(`/api/value/${row}/${column}/${pathOf(info.key)}?${parts}`)).json();
  }

  function where(column, row) {
    const transform = info.attributes["spatial:transform"];
    const at = `column ${column}, row ${row}`;
    if (!transform) return at;
    const [a, b, c, d, e, f] = transform;
    const x = a * (column + 0.5) + b * (row + 0.5) + c;
    const y = d * (column + 0.5) + e * (row + 0.5) + f;
    return `${at}   ${x.toPrecision(9)}, ${y.toPrecision(9)} ${info.attributes["proj:code"] || ""}`;
  }

  new OpenSeadragon.MouseTracker({
    element: viewer.container,
    moveHandler: (event) => {
      if (!viewer.world.getItemCount()) return;
      const point = viewer.world.getItemAt(0).viewerElementToImageCoordinates(event.position);
      const column = Math.floor(point.x), row = Math.floor(point.y);
      if (column >= 0 && row >= 0 && column < info.width && row < info.height) look(column, row);
    },
  });

  controls();
  function controls() {
    const panel = document.getElementById("controls");
    panel.replaceChildren();
    const channels = made("fieldset", {}, made("legend", { text: "Channels" }));
    for (const channel of state.channels) {
      const band = made("select", { "aria-label": "Band", onchange: () => {
        channel.band = Number(band.value);
        const usual = info.bands[channel.band];
        if (usual.low !== null) { channel.low = usual.low; channel.high = usual.high; controls(); }
        redraw();
      } });
      info.bands.forEach((one, n) => band.append(made("option", { value: n, text: one.name, selected: n === channel.band })));
      const ends = ["low", "high"].map((end) => made("input", {
        type: "number", step: "any", value: legible(channel[end]), "aria-label": end === "low" ? "Black at" : "White at",
        oninput: (event) => { if (event.target.value !== "") { channel[end] = Number(event.target.value); redraw(); } },
      }));
      const color = made("input", { type: "color", value: `#${channel.color}`, "aria-label": "Colour", oninput: () => { channel.color = color.value.slice(1); redraw(); } });
      channels.append(made("div", { class: "row" }, color, band, ...ends));
    }
    panel.append(channels);
    if (info.original) panel.append(originalField(info, state, (beside) => { state.beside = beside; controls(); redraw(); }, (swipe) => { state.swipe = swipe; cut(); }));
    if (info.bands.length > 1) panel.append(presets(), indices());
    for (const [axis, at] of Object.entries(state.place)) panel.append(slider(axis, at));
  }

  function presets() {
    const grey = made("select", { "aria-label": "Show", onchange: () => {
      state.index = null;
      if (grey.value === "usual") state.channels = info.channels.map((channel) => ({ ...channel }));
      else {
        const band = Number(grey.value), usual = info.bands[band];
        state.channels = [{ band, low: usual.low ?? info.channels[0].low, high: usual.high ?? info.channels[0].high, color: "ffffff" }];
      }
      controls(); redraw();
    } });
    grey.append(made("option", { value: "", text: "choose…" }), made("option", { value: "usual", text: "as stored" }));
    info.bands.forEach((one, n) => grey.append(made("option", { value: n, text: `${one.name} in grey` })));
    return made("fieldset", {}, made("legend", { text: "Show" }), made("div", { class: "row" }, grey));
  }

  function indices() {
    const choice = made("select", { "aria-label": "Index", onchange: () => {
      const known = info.indices.find((one) => one.name === choice.value);
      if (known) { state.formula = known.text; use({ text: known.text, low: known.low, high: known.high }); }
      else use(null);
    } });
    choice.append(made("option", { value: "", text: "none" }));
    for (const one of info.indices) choice.append(made("option", { value: one.name, text: one.title, selected: state.index && state.index.text === one.text }));
    if (state.index && choice.value === "") choice.append(made("option", { value: "own", text: "own formula", selected: true }));
    const trouble = made("p", { class: "wrong", role: "alert" });
    const formula = made("input", {
      type: "text", value: state.formula, maxlength: 500, spellcheck: "false", autocomplete: "off", "aria-label": "Formula",
      placeholder: `e.g. (b${info.bands.length} - b1) / (b${info.bands.length} + b1)`,
      onkeydown: async (event) => {
        if (event.key !== "Enter") return;
        state.formula = formula.value;
        if (!formula.value.trim()) { use(null); return; }
        const index = { low: -1, high: 1, ...state.index, text: formula.value.trim() };
        try {
          await valueAt(0, 0, new URLSearchParams({ expression: index.text }));
          use(index);
        } catch (error) { trouble.textContent = error.message; }
      },
    });
    const field = made("fieldset", {}, made("legend", { text: "Index: by name, or a formula and Enter" }),
      made("div", { class: "row" }, choice), made("div", { class: "row" }, formula), trouble);
    if (state.index) {
      const ends = ["low", "high"].map((end) => made("input", {
        type: "number", step: "any", value: state.index[end], "aria-label": end === "low" ? "Brown at" : "Green at",
        oninput: (event) => { if (event.target.value !== "") { state.index[end] = Number(event.target.value); redraw(); } },
      }));
      field.append(made("div", { class: "row" }, made("span", { text: "brown" }), ends[0], made("span", { text: "green" }), ends[1]));
    }
    return field;
  }

  function use(index) {
    state.index = index;
    controls(); redraw();
  }

  function slider(axis, at) {
    const count = info.shape[info.axes.indexOf(axis)];
    const number = made("output", { text: `${at + 1} / ${count}` });
    const range = made("input", { type: "range", min: 0, max: count - 1, value: at, "aria-label": axis, oninput: () => {
      state.place[axis] = Number(range.value);
      number.textContent = `${state.place[axis] + 1} / ${count}`;
      redraw();
    } });
    return made("fieldset", {}, made("legend", { text: axis }), made("div", { class: "row" }, range, number));
  }

  document.getElementById("keys").textContent = "+ and − zoom, arrows move, 0 shows all; double click zooms in.";
}
