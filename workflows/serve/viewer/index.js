"use strict";
// The index of an archive: search, thumbnails, links.

const PAGE = 60;
let shown = 0;
let turn = 0;

function card(store) {
  const picture = document.createElement("div");
  picture.className = "picture";
  const image = document.createElement("img");
  image.loading = "lazy";
  image.alt = "";
  image.src = `/api/thumb/${pathOf(store.key)}`;
  picture.append(image);
  const text = document.createElement("div");
  text.className = "text";
  const name = document.createElement("b");
  name.textContent = store.key;
  text.append(name);
  const facts = [];
  if (store.shape) facts.push(`${store.shape.join(" × ")} ${store.dtype}`);
  if (store.time) facts.push(store.time[0].slice(0, 10));
  if (store.modality || store.crs) facts.push(store.modality || store.crs);
  if (store.bytes) facts.push(`${bytesOf(store.bytes)}, ratio ${store.ratio}${store.lossless ? "" : ", not lossless"}`);
  for (const fact of facts) {
    const line = document.createElement("small");
    line.textContent = fact;
    text.append(line);
  }
  const link = document.createElement("a");
  link.className = "card";
  link.href = `/view/${pathOf(store.key)}`;
  link.append(picture, text);
  return link;
}

async function list(from) {
  const own = ++turn;
  const asked = new URLSearchParams({ offset: from, limit: PAGE });
  for (const [name, id] of [["q", "words"], ["datetime", "time"], ["bbox", "bbox"], ["modality", "modality"]]) {
    const value = document.getElementById(id).value.trim();
    if (value) asked.set(name, value);
  }
  const status = document.getElementById("count");
  let found;
  try {
    const answer = await fetch(`/api/stores?${asked}`);
    found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
  } catch (error) {
    if (own === turn) status.textContent = error.message;
    return;
  }
  if (own !== turn) return;  // somebody has typed on
  const grid = document.getElementById("stores");
  if (from === 0) { grid.replaceChildren(); shown = 0; }
  grid.append(...found.stores.map(card));
  shown += found.stores.length;
  document.getElementById("name").textContent = found.name;
  document.title = `${found.name} – tilepress`;
  status.textContent = found.count === 1 ? "1 image" : `${found.count} images`;
  document.getElementById("more").hidden = shown >= found.count;
}

document.getElementById("search").addEventListener("input", later(250, () => list(0)));
document.getElementById("search").addEventListener("submit", (event) => { event.preventDefault(); list(0); });
document.getElementById("more").addEventListener("click", () => list(shown));
list(0);
