// The large image: zoom, pan, invert, window and level. Shows exactly one picture at a time, or says why it cannot.

import { $, make, say } from "./dom.js";
import { bytes } from "./api.js";
import { values } from "./pictures.js";
import * as presets from "./presets.js";

const LARGEST = 2048;  // the server makes larger pictures smaller, until they are looked at closely
const now = { shown: null, scale: 1, x: 0, y: 0, inverted: false, deep: null, canvas: null, low: 0, high: 0, whole: false };
const layer = $("layer"), viewer = $("viewer");
let keeps = () => false, beside = null;
export const keepView = (asked) => { keeps = asked; };  // whether zoom and inversion stay from one picture to the next
export function follow(other) { beside = other; place(); }  // another layer, zoomed and moved as this one

export function show(shown, alt) {
  Object.assign(now, { shown, deep: null, canvas: null, whole: false });
  if (!keeps()) Object.assign(now, { scale: 1, x: 0, y: 0, inverted: false });
  viewer.classList.remove("deep");
  $("window").hidden = $("windowing").hidden = true;
  $("empty").hidden = Boolean(shown?.image);
  $("empty").textContent = shown?.image ? "" : shown ? `This image cannot be shown. ${shown.details.message}` : "Loading …";
  if (shown?.image) {
    shown.image.alt = alt;
    shown.image.draggable = false;
    layer.replaceChildren(shown.image);
  } else layer.replaceChildren();
  place();
  clearTimeout(show.later);
  if (shown?.image) show.later = setTimeout(() => ready(shown), presets.any() ? 0 : 200);
}

export async function replace(image, slice, deepOf) {  // another slice of the same item: zoom, window and level stay
  const before = now.shown;
  image.alt = before.image.alt;
  image.draggable = false;
  const shown = { ...before, image, slice, deep: undefined };
  Object.assign(now, { shown, whole: false });
  clearTimeout(show.later);
  if (!now.canvas) {
    layer.replaceChildren(image);
    show.later = setTimeout(() => ready(shown, deepOf), 200);
    if (now.scale > 1.2) sharpen(shown);
    return;
  }
  const deep = await deepOf().catch(() => null);
  if (now.shown !== shown) return;
  if (!deep) { now.canvas.replaceWith(image); now.canvas = null; return; }
  if (deep.width !== now.canvas.width || deep.height !== now.canvas.height) Object.assign(now.canvas, { width: deep.width, height: deep.height });
  now.deep = deep;
  draw();
}

export function reset() {
  Object.assign(now, { scale: 1, x: 0, y: 0, inverted: false });
  if (now.deep) Object.assign(now, { low: now.deep.low, high: now.deep.high });
  if (now.canvas) now.canvas.replaceWith(now.shown.image);
  now.canvas = null;
  if (now.deep) { presets.keep(now.deep, "as stored"); $("preset").value = "as stored"; }
  $("window").hidden = true;
  place();
}

export function invert() { now.inverted = !now.inverted; place(); }

export function zoom(factor, at) {
  const box = viewer.getBoundingClientRect();
  const [px, py] = at ? [at.x - box.left, at.y - box.top] : [box.width / 2, box.height / 2];
  const scale = Math.min(Math.max(now.scale * factor, 1), 32);
  now.x = px - (px - now.x) * (scale / now.scale);
  now.y = py - (py - now.y) * (scale / now.scale);
  now.scale = scale;
  place();
  if (scale > 1.2) sharpen(now.shown);
}

export const toggleZoom = () => (now.scale > 1 ? zoom(1 / now.scale) : zoom(3));

function pan(dx, dy) { now.x += dx; now.y += dy; place(); }

function place() {
  const { clientWidth: w, clientHeight: h } = viewer;
  now.x = Math.min(0, Math.max(now.x, w * (1 - now.scale)));
  now.y = Math.min(0, Math.max(now.y, h * (1 - now.scale)));
  layer.style.transform = `translate(${now.x}px, ${now.y}px) scale(${now.scale})`;
  layer.classList.toggle("inverted", now.inverted);
  if (beside) { beside.style.transform = layer.style.transform; beside.classList.toggle("inverted", now.inverted); }
  writeScale();
  viewer.classList.toggle("zoomed", now.scale > 1);
  document.querySelector('[data-do="invert"]').setAttribute("aria-pressed", String(now.inverted));
}

async function sharpen(shown) {  // all pixels of a picture that came smaller
  const image = shown?.image;
  if (!image || now.whole || now.canvas || Math.max(image.naturalWidth, image.naturalHeight) !== LARGEST) return;
  now.whole = true;
  try {
    const { id, fingerprint } = shown.details;
    const which = shown.slice === undefined ? {} : { slice: shown.slice };
    const blob = await (await bytes(`items/${id}/view`, { v: fingerprint, whole: "true", ...which })).blob();
    const large = new Image();
    large.src = URL.createObjectURL(blob);
    await large.decode();
    if (now.shown !== shown) return;
    large.alt = image.alt;
    large.draggable = false;
    if (image.isConnected) image.replaceWith(large);
    shown.image = large;
  } catch { /* the smaller one stays */ }
}

async function ready(shown, deepOf = () => values(shown.details.id, shown.details.fingerprint)) {  // the grey values, where there are more than a screen shows
  try {
    shown.deep ??= deepOf();
    const deep = await shown.deep;
    if (now.shown !== shown || !deep) return;
    Object.assign(now, { deep, low: deep.low, high: deep.high });
    viewer.classList.add("deep");
    $("windowing").hidden = false;
    $("preset").replaceChildren(...presets.names(deep).map((name) => make("option", {}, name)), make("option", { hidden: true }, "own"));
    writeScale();
    const kept = presets.kept(deep);
    if (kept && kept !== "as stored") apply(kept);
  } catch { shown.deep = undefined; }
}

function apply(choice) {  // a preset by its name, or two values
  const [low, high] = Array.isArray(choice) ? choice : presets.range(now.deep, choice);
  Object.assign(now, { low, high });
  $("preset").value = Array.isArray(choice) ? "own" : choice;
  requestDraw();
}

export function preset(name) {  // the next one, where none is named
  if (!now.deep) return;
  const all = presets.names(now.deep);
  const next = name || all[(all.indexOf($("preset").value) + 1) % all.length];
  presets.keep(now.deep, next);
  apply(next);
  say(`Window: ${next}.`);
}
$("preset").addEventListener("change", () => preset($("preset").value));

// A scale where it is known how large a pixel is
const LENGTHS = [1, 2, 5, 10, 20, 50, 100, 200];  // millimetres
function writeScale() {
  const { deep } = now;
  $("scale").hidden = !deep?.mm;
  if (!deep?.mm) return;
  const { clientWidth: w, clientHeight: h } = viewer;
  const pixels = (Math.min(w / deep.width, h / deep.height) * now.scale) / deep.mm;  // of the screen, a millimetre
  const length = LENGTHS.filter((each) => each * pixels <= w / 4).pop() || LENGTHS[0];
  $("scale").style.width = `${length * pixels}px`;
  $("scale").textContent = length < 10 ? `${length} mm` : `${length / 10} cm`;
}

export function windowLevel(dx, dy) {  // dx widens, dy (downwards) makes it brighter or darker, in pixels of a drag
  const deep = now.deep;
  if (!deep) return;
  const first = Math.max(deep.high - deep.low, deep.step);
  const width = Math.max((now.high - now.low) * Math.exp(dx / 250), deep.step);
  const centre = (now.low + now.high) / 2 + (dy * Math.max(first, width)) / 500;
  Object.assign(now, { low: centre - width / 2, high: centre + width / 2 });
  presets.keep(deep, [now.low, now.high]);
  $("preset").value = "own";
  requestDraw();
}

let asked = false;
function requestDraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

function draw() {
  const { deep, low, high } = now;
  if (!deep || !now.shown?.image) return;
  if (!now.canvas) {
    now.canvas = make("canvas", { width: deep.width, height: deep.height, role: "img" });
    now.canvas.setAttribute("aria-label", now.shown.image.alt);
    layer.replaceChildren(now.canvas);
  }
  const table = new Uint32Array(65536);
  for (let v = 0; v < 65536; v += 1) {
    let grey = Math.min(Math.max((deep.offset + v * deep.step - low) / (high - low), 0), 1) * 255;
    if (deep.inverted) grey = 255 - grey;
    const byte = Math.round(grey);
    table[v] = 0xff000000 | (byte << 16) | (byte << 8) | byte;
  }
  const image = new ImageData(deep.width, deep.height);
  const out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < out.length; i += 1) out[i] = table[deep.pixels[i]];
  now.canvas.getContext("2d").putImageData(image, 0, 0);
  const round = (value) => (Math.abs(value) < 10 && deep.step < 1 ? value.toPrecision(3) : Math.round(value).toLocaleString("en"));
  $("window").hidden = false;
  $("window").textContent = `W ${round(high - low)}  L ${round((low + high) / 2)}`;
}

// Mouse, pen and fingers
const fingers = new Map();
viewer.addEventListener("pointerdown", (event) => {
  if (event.button > 1 || event.target.closest("button")) return;
  viewer.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
});
viewer.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const after = { x: event.clientX, y: event.clientY };
  const [dx, dy] = [after.x - before.x, after.y - before.y];
  if (fingers.size === 2) {
    const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
    const [was, is] = [before, after].map((p) => Math.hypot(p.x - other.x, p.y - other.y));
    if (was > 0) zoom(is / was, { x: (after.x + other.x) / 2, y: (after.y + other.y) / 2 });
    pan(dx / 2, dy / 2);
  } else if (now.deep && !event.shiftKey && event.buttons !== 4 && !(event.pointerType === "touch" && now.scale > 1)) {
    windowLevel(dx, dy);
  } else pan(dx, dy);
  fingers.set(event.pointerId, after);
});
for (const end of ["pointerup", "pointercancel"]) viewer.addEventListener(end, (event) => fingers.delete(event.pointerId));
let wheel = () => false;
export const onWheel = (listener) => { wheel = listener; };
viewer.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (wheel(event)) return;
  zoom(Math.exp(-event.deltaY / 400), { x: event.clientX, y: event.clientY });
}, { passive: false });
viewer.addEventListener("dblclick", (event) => (now.scale > 1 ? zoom(1 / now.scale) : zoom(3, { x: event.clientX, y: event.clientY })));
addEventListener("resize", place);
