// The pictures of a grid as buttons, and which of them were really seen: decoded, and on the screen.

import { counted, make, present } from "./dom.js";
import { thumbnailOf } from "./pictures.js";

const decoded = new WeakSet(), visible = new WeakSet(), seen = new Set();
let changed = () => {};
export const onSeen = (listener) => { changed = listener; };
export const wasSeen = (path) => seen.has(path);
export const forgetSeen = () => seen.clear();

function look(button) {
  if (!decoded.has(button) || !visible.has(button) || document.hidden) return;
  button.classList.add("seen");  // also where an earlier button of the same image was seen before the grid was made anew
  if (seen.has(button.dataset.path)) return;
  seen.add(button.dataset.path);
  changed();
}

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) visible.add(target); else visible.delete(target);
    look(target);
  }
}, { threshold: 0.5 });
document.addEventListener("visibilitychange", () => { for (const button of document.querySelectorAll(".tile")) look(button); });

export const named = (one, label, number) => `Image ${number}, ${label}${one.hidden ? "" : `: ${one.path}`}${
  one.members.length ? `, and ${counted(one.members.length, "nearly identical image")}` : ""}`;

const ahead = new Map();  // address → picture that was fetched before its tile is made; the server lets nothing be cached

export async function fetchAhead(look_, side, wanted) {  // wanted: whether it still is
  const src = thumbnailOf(look_, side);
  if (look_.state !== "ok" || ahead.has(src) || !wanted()) return;
  const image = make("img", { alt: "", draggable: false, src });
  try { await image.decode(); } catch { return; }
  if (wanted()) ahead.set(src, image);
}

function pictureAt(src) {
  const known = ahead.get(src);
  ahead.delete(src);
  return known || make("img", { alt: "", draggable: false, src });
}

export const forgetAhead = () => ahead.clear();

// look: how its file is now. options: number, caption (null for none), side in pixels, broken (called where it cannot be shown)
export function tile(one, look_, { number, caption, side, broken }) {
  const button = make("button", { type: "button", className: "tile", title: one.hidden ? "" : one.path });
  button.dataset.path = one.path;
  if (look_?.state !== "ok") {
    button.classList.add("out");
    button.disabled = true;
    button.textContent = look_?.state === "changed" ? "Changed since it was labelled: answer it one by one" : "Cannot be shown";
    return button;
  }
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", named(one, one.label, number));
  const image = pictureAt(thumbnailOf(look_, side));
  image.decode().then(
    () => { if (image.naturalWidth) { decoded.add(button); look(button); } },
    () => { if (button.isConnected) broken(button); },
  );
  button.append(...present(
    image, caption === null ? null : make("span", { className: "caption" }, caption),
    one.members.length ? make("span", { className: "badge" }, `×${one.members.length + 1}`) : null,
  ));
  watcher.observe(button);
  return button;
}

export function showMark(button, words) {  // words: null takes it away
  button.setAttribute("aria-pressed", String(words !== null));
  button.querySelector(".mark")?.remove();
  if (words !== null) button.append(make("span", { className: "mark" }, words));
}
