// Which tiles of the grid are selected: by click with Shift or Ctrl, by a frame drawn with the mouse, by Shift and arrows.

import { $, make } from "./dom.js";

const FAR = 6;  // pixels: a shorter drag is a click
const LONG = 450;  // milliseconds that a finger rests for a closer look
const chosen = new Set();  // paths
let anchor = null, listener = () => {};
let dragged = false;

export const onChange = (other) => { listener = other; };
export const paths = () => [...chosen];
export const size = () => chosen.size;
const tiles = () => [...document.querySelectorAll("#tiles .tile:not(:disabled)")];

function write() {
  for (const button of tiles()) button.classList.toggle("chosen", chosen.has(button.dataset.path));
  listener();
}

export function clear() { chosen.clear(); anchor = null; write(); }
export function all() { for (const button of tiles()) chosen.add(button.dataset.path); write(); }

export function toggle(path) {
  if (chosen.has(path)) chosen.delete(path); else chosen.add(path);
  anchor = path;
  write();
}

export function upTo(path) {  // from the tile that was last chosen to this one
  const order = tiles().map((button) => button.dataset.path);
  const [from, to] = [order.indexOf(anchor ?? path), order.indexOf(path)];
  for (let i = Math.min(from, to); i <= Math.max(from, to); i += 1) if (order[i]) chosen.add(order[i]);
  anchor ??= path;
  write();
}

export const begin = (path) => { anchor ??= path; chosen.add(anchor); };

// Draws a frame; the click that ends a drag or a long press is not one. closer: called with a tile held by a finger.
export function listen(closer) {
  const box = $("tiles");
  let start = null, frame = null, before = new Set(), held = 0;
  box.addEventListener("pointerdown", (event) => {
    dragged = false;
    if (event.button) return;
    const tile = event.target.closest(".tile");
    if (event.pointerType !== "mouse") {
      held = setTimeout(() => { if (tile) { dragged = true; closer(tile.dataset.path); } }, LONG);
      return;
    }
    start = { x: event.clientX, y: event.clientY };
    before = event.shiftKey || event.ctrlKey || event.metaKey ? new Set(chosen) : new Set();
  });
  addEventListener("pointermove", (event) => {
    if (!start) return;
    const [x, y] = [Math.min(start.x, event.clientX), Math.min(start.y, event.clientY)];
    const [w, h] = [Math.abs(start.x - event.clientX), Math.abs(start.y - event.clientY)];
    if (!frame && Math.max(w, h) < FAR) return;
    if (!frame) { frame = make("div", { className: "rubber" }); document.body.append(frame); dragged = true; }
    Object.assign(frame.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px` });
    chosen.clear();
    for (const path of before) chosen.add(path);
    for (const button of tiles()) {
      const at = button.getBoundingClientRect();
      if (at.left < x + w && at.right > x && at.top < y + h && at.bottom > y) chosen.add(button.dataset.path);
    }
    write();
  });
  const end = () => { clearTimeout(held); start = null; frame?.remove(); frame = null; };
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, end);
  box.addEventListener("pointermove", (event) => { if (event.pointerType !== "mouse" && Math.hypot(event.movementX, event.movementY) > 4) clearTimeout(held); });
  box.addEventListener("contextmenu", (event) => { if (dragged) event.preventDefault(); });
  box.addEventListener("click", (event) => { if (dragged) { event.stopPropagation(); dragged = false; } }, true);
}
