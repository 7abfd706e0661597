// The slices of a volume or series, or the frames of a file: one picture at a time, by wheel, keys, slider, or played.

import { $ } from "./dom.js";
import { bytes } from "./api.js";
import { values } from "./pictures.js";
import * as viewer from "./viewer.js";

const KEPT = 96, AHEAD = 3, A_SECOND = 10, A_NOTCH = 100;  // pictures; pictures a second; pixels of the wheel a slice
const now = { shown: null, count: 0, at: 0, turned: 0, timer: null, loaded: new Map() };

export function show(shown) {
  stop();
  const { slices = 1, middle = 0, telling = null } = shown?.image ? shown.details : {};
  Object.assign(now, { shown: slices > 1 ? shown : null, count: slices, at: middle, turned: 0, loaded: new Map() });
  if (now.shown) now.loaded.set(middle, Promise.resolve(shown.image));
  $("stack").hidden = !now.shown;
  $("slice").max = slices - 1;
  $("telling").hidden = telling === null;
  write();
}

export const step = (by) => { if (now.shown) go(now.at + by); };
export const tell = () => { if (now.shown && now.shown.details.telling !== null) go(now.shown.details.telling); };

export function play() {
  if (!now.shown) return;
  if (now.timer) { stop(); return; }
  now.timer = setInterval(() => go((now.at + 1) % now.count), 1000 / A_SECOND);
  $("play").setAttribute("aria-pressed", "true");
}

function stop() {
  clearInterval(now.timer);
  now.timer = null;
  $("play").setAttribute("aria-pressed", "false");
}

async function go(index) {
  const { shown, count } = now;
  const at = Math.min(Math.max(index, 0), count - 1);
  if (at === now.at) return;
  now.at = at;
  write();
  try {
    const image = await load(at);
    if (now.shown !== shown || now.at !== at) return;
    const { id, fingerprint } = shown.details;
    viewer.replace(image, at, () => values(id, fingerprint, at));
    for (let i = 1; i <= AHEAD; i += 1) if (at + i < count) load(at + i).catch(() => {});
  } catch (error) {
    if (now.shown === shown && now.at === at) $("sliceAt").textContent = `${at + 1} of ${count}: ${error.message}`;
  }
}

function load(at) {
  if (!now.loaded.has(at)) {
    const { id, fingerprint } = now.shown.details;
    const coming = bytes(`items/${id}/view`, { v: fingerprint, slice: at }).then((answer) => answer.blob()).then(async (blob) => {
      const image = new Image();
      image.src = URL.createObjectURL(blob);
      await image.decode();
      return image;
    });
    now.loaded.set(at, coming);
    coming.catch(() => now.loaded.delete(at));
    for (const old of now.loaded.keys()) {
      if (now.loaded.size <= KEPT) break;
      now.loaded.delete(old);
    }
  }
  return now.loaded.get(at);
}

function write() {
  $("slice").value = now.at;
  $("sliceAt").textContent = now.shown ? `${now.at + 1} of ${now.count}` : "";
}

viewer.onWheel((event) => {  // true where the wheel turned slices; with Ctrl it zooms
  if (!now.shown || event.ctrlKey) return false;
  now.turned += event.deltaY;
  const by = Math.trunc(now.turned / A_NOTCH);
  now.turned -= by * A_NOTCH;
  if (by) step(by);
  return true;
});
$("slice").addEventListener("input", (event) => go(Number(event.target.value)));
$("slice").addEventListener("pointerup", (event) => event.target.blur());  // the arrow keys are the page's again
$("play").addEventListener("click", play);
$("telling").addEventListener("click", tell);
