"use strict";
// What all pages share. Texts of stores get into the page as text alone, never as HTML.

function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

function pathOf(key) {
  return key.split("/").map(encodeURIComponent).join("/");
}

async function asked(address) {
  const answer = await fetch(address);
  if (!answer.ok) {
    let text = `the server answered ${answer.status}`;
    try { text = (await answer.json()).error || text; } catch { /* no JSON: the status has to do */ }
    throw new Error(text);
  }
  return answer;
}

function later(milliseconds, work) {
  let waiting = 0;
  return (...values) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => work(...values), milliseconds);
  };
}

function bytesOf(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (count >= 1000 && at < units.length - 1) { count /= 1000; at += 1; }
  return `${at ? count.toFixed(1) : count} ${units[at]}`;
}

function lossOf(info) {
  if (info.loss.lossless) return "lossless";
  if (info.loss.max_error !== null && info.loss.max_error !== undefined) return `within ±${info.loss.max_error}`;
  return "lossy";
}

function originalField(info, state, change, slide) {
  // The choice between what is stored and its original; where both are shown, what is left of which.
  const choice = made("select", { "aria-label": "Original", onchange: () => change(choice.value) });
  const ways = { stored: "as stored", original: "original", swipe: "original left of stored", difference: `difference${info.worst ? `, up to ${info.worst}` : ""}` };
  for (const [value, text] of Object.entries(ways)) choice.append(made("option", { value, text, selected: value === state.beside }));
  const field = made("fieldset", {}, made("legend", { text: "Original" }), made("div", { class: "row" }, choice));
  if (state.beside === "swipe") {
    const range = made("input", { type: "range", min: 0, max: 100, value: 100 * state.swipe, "aria-label": "Swipe", oninput: () => slide(range.value / 100) });
    field.append(made("div", { class: "row" }, range));
  }
  return field;
}
