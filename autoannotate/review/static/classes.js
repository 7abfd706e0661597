// The classes as buttons: fixed order and digits where they are few; likeliest first, with a search, where they are many.

import { $, make } from "./dom.js";

const FEW = 9;  // as many as there are digits
let names = [], likely = [];

// Each kind below what it is a kind of; the order as it was given otherwise
function tree(classes, parents, above) {
  return classes.filter((name) => parents[name] === above).flatMap((name) => [name, ...tree(classes, parents, name)]);
}

export function build(classes, choose, keys = "123456789", parents = {}) {
  names = tree(classes, parents);
  const box = $("classes");
  box.className = `classes${names.length > 3 ? " many" : ""}${names.length > 14 ? " crowd" : ""}`;
  $("answers").classList.toggle("crowded", names.length > 14);
  box.replaceChildren(...names.map((name) => {
    const i = classes.indexOf(name);  // keys stay where they are, whatever the rules are
    const button = make("button", { type: "button", onclick: (event) => choose(name, event.shiftKey) });
    button.dataset.label = name;
    button.setAttribute("aria-label", name);
    button.setAttribute("aria-pressed", "false");
    if (parents[name]) {
      let depth = 0;
      for (let above = parents[name]; above; above = parents[above]) depth += 1;
      button.style.setProperty("--depth", depth);
      button.classList.add("kind");
      button.setAttribute("aria-description", `a kind of ${parents[name]}`);
    }
    if (i < keys.length) {
      button.setAttribute("aria-keyshortcuts", keys[i].toUpperCase());
      button.append(make("kbd", { ariaHidden: "true" }, keys[i].toUpperCase()));
    }
    button.append(make("span", {}, name));
    return button;
  }));
  $("finder").hidden = names.length <= FEW;
  clear();
}

export function order(first) {  // the likely ones of many come first; [] where the machine may not hint
  likely = first;
  if (!$("filter").value) search();
}

const unsearched = () => (names.length <= FEW ? names : [...new Set([...likely, ...names])]);

function sort(wanted) {
  const box = $("classes");
  const at = new Map(wanted.map((name, i) => [name, i]));
  const buttons = [...box.children].sort((a, b) => (at.get(a.dataset.label) ?? 1e9) - (at.get(b.dataset.label) ?? 1e9));
  if (buttons.some((button, i) => button !== box.children[i])) box.append(...buttons);
}

// How well a name fits what was typed: whole, its beginning, the beginning of a word, anywhere; the likely ones first.
function fit(name, typed) {
  const lower = name.toLowerCase();
  if (!lower.includes(typed)) return Infinity;
  const rank = lower === typed ? 0 : lower.startsWith(typed) ? 1 : lower.split(/[^\p{L}\p{N}]+/u).some((word) => word.startsWith(typed)) ? 2 : 3;
  const seen = likely.indexOf(name);
  return rank * 1e6 + (seen < 0 ? 1e5 : 0) + (seen < 0 ? names.indexOf(name) : seen);
}

export function search() {
  const typed = $("filter").value.trim().toLowerCase();
  const buttons = [...document.querySelectorAll("#classes button")];
  const fits = new Map(names.map((name) => [name, typed ? fit(name, typed) : 0]));
  for (const button of buttons) button.hidden = fits.get(button.dataset.label) === Infinity;
  sort(typed ? [...names].sort((a, b) => fits.get(a) - fits.get(b)) : unsearched());
  const first = found();
  for (const button of buttons) button.classList.toggle("take", button.dataset.label === first);
  $("takes").textContent = !typed ? `${names.length} classes${likely.length ? ", the likeliest first" : ""}` : first ? `Enter takes: ${first}` : "No class is called so";
  $("classes").scrollTop = 0;
}

// What Enter takes: the first hit, and nothing where nothing was typed.
export function found() {
  if (!$("filter").value.trim()) return null;
  return document.querySelector("#classes button:not([hidden])")?.dataset.label ?? null;
}

export function clear() {
  $("filter").value = "";
  search();
}

$("filter").addEventListener("input", search);
