// Which pictures the grid shows and in which order: the controls above it.

import { $, make } from "./dom.js";
import { state } from "./one.js";

export const SIZES = [[10, 7], [8, 5], [6, 4], [4, 3], [3, 2]];  // columns and rows on a wide screen
const NARROW = [[6, 9], [5, 8], [4, 6], [3, 4], [2, 3]];
const wanted = { label: null, like: null };
let changed = () => {};

export const onChange = (listener) => { changed = listener; };
export const label = () => wanted.label;
export const like = () => wanted.like;

export function set(values, quietly = false) {
  Object.assign(wanted, values);
  writeLike();
  if (!quietly) changed();
}

export function query() {
  const [low, high] = $("gridSure").value.split("-");
  const found = { label: wanted.label ?? "", order: $("gridOrder").value, show: $("gridShow").value, source: $("gridSource").value,
    answered_by: $("gridReader").value, reason: $("gridReason").value.trim(), name: $("gridName").value.trim(), low: low || 0, high: high || 1 };
  const [column, value] = $("gridColumn").value.split("\t");
  if (column) Object.assign(found, { column, value });
  return wanted.like === null ? found : { ...found, like: wanted.like.id };
}

export const narrowed = () => ["gridShow", "gridSource", "gridSure", "gridReader", "gridColumn", "gridReason", "gridName"].some((id) => $(id).value !== $(id).dataset.all);

export function layout() {  // columns and rows, so that a page of the grid is on the screen as a whole
  const size = Number($("gridSize").value);
  return (matchMedia("(max-width: 900px) and (orientation: portrait), (max-width: 720px)").matches ? NARROW : SIZES)[size];
}

export function build() {
  $("gridSource").replaceChildren(make("option", { value: "" }, "anybody"), ...state.session.sources.map((name) => make("option", { value: name }, name)));
  $("gridReader").replaceChildren(make("option", { value: "" }, "anybody or nobody"), ...state.session.readers.map((name) => make("option", { value: name }, name)));
  const columns = Object.entries(state.session.columns);
  $("gridColumns").hidden = !columns.length;
  $("gridColumn").replaceChildren(make("option", { value: "" }, "any"), ...columns.map(([name, levels]) => make("optgroup", { label: name },
    ...levels.map((level) => make("option", { value: `${name}\t${level}` }, level)))));
  if (innerWidth < 500 && $("gridSize").value === "1") $("gridSize").value = "3";
}

function writeLike() {
  $("gridLike").hidden = !wanted.like;
  if (wanted.like) $("gridLikeName").textContent = state.unaided ? "the chosen image" : wanted.like.path;
}

export function reset() {
  for (const id of ["gridShow", "gridSource", "gridSure", "gridReader", "gridColumn", "gridReason", "gridName"]) $(id).value = $(id).dataset.all;
}

for (const id of ["gridOrder", "gridShow", "gridSource", "gridSure", "gridReader", "gridColumn"]) $(id).addEventListener("change", () => changed());
let later;
for (const id of ["gridReason", "gridName"]) $(id).addEventListener("input", () => { clearTimeout(later); later = setTimeout(() => changed(), 250); });
$("gridSize").addEventListener("input", () => changed());
$("gridNotLike").addEventListener("click", () => set({ like: null }));
$("gridAll").addEventListener("click", () => { reset(); set({ like: null }); });
