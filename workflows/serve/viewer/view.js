"use strict";
// One store: what it is, and the viewer that fits it.

(async () => {
  const key = decodeURIComponent(location.pathname.slice("/view/".length));
  const title = document.getElementById("title");
  title.textContent = key;
  document.title = `${key} – tilepress`;
  try {
    const info = await (await asked(`/api/info/${pathOf(key)}`)).json();
    const facts = {
      Size: `${info.shape.join(" × ")} (${info.axes.join(", ")})`,
      Samples: info.dtype,
      Loss: lossOf(info),
      Stored: `${bytesOf(info.stored_bytes)} of ${bytesOf(info.raw_bytes)}`,
      Levels: info.levels.length,
      CRS: info.attributes["proj:code"],
      Modality: info.attributes.modality,
      Spacing: ["z", "y", "x"].filter((axis) => info.spacing[axis]).map((axis) => Number(info.spacing[axis].toPrecision(4))).join(" × ") + (Object.keys(info.spacing).length ? " mm" : ""),
    };
    for (const [name, value] of Object.entries(facts)) {
      if (value) document.getElementById("facts").append(made("dt", { text: name }), made("dd", { text: value }));
    }
    (info.is_volume ? showVolume : showImage)(info);
  } catch (error) {
    document.getElementById("stage").append(made("p", { class: "trouble", text: error.message }));
    document.body.dataset.ready = "trouble";
  }
})();
