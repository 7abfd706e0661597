// Another picture side by side with the one that is asked about: of the same patient, or the nearest of another class.

import { $, make, say } from "./dom.js";
import * as api from "./api.js";
import { picture } from "./pictures.js";
import { follow } from "./viewer.js";

let on = false, turn = 0, found = [], at = 0, hides = () => false;
const layer = $("otherLayer");

export function listen(hidden) { hides = hidden; }

export async function toggle(one) {
  on = !on;
  document.querySelector('[data-do="compare"]').setAttribute("aria-pressed", String(on));
  $("other").hidden = !on;
  follow(on ? layer : null);
  if (on && one) await show(one.id); else turn += 1;
  if (!on) say("One picture.");
}

export async function show(id) {  // the companions of the picture that is shown now
  if (!on) return;
  const mine = (turn += 1);
  layer.replaceChildren();
  $("otherWhy").replaceChildren(make("option", {}, "Looking …"));
  const listed = await api.get(`items/${id}/compare`, hides() ? { hidden: "true" } : {}).catch(() => []);
  if (mine !== turn) return;
  [found, at] = [listed, 0];
  $("otherWhy").replaceChildren(...(found.length ? found.map((one, i) => make("option", { value: String(i) }, one.why + (repeats(one) > 1 ? ` (${1 + found.filter((each, j) => j < i && each.why === one.why).length})` : "")))
    : [make("option", {}, "nothing to compare with")]));
  await draw();
}

const repeats = (one) => found.filter((each) => each.why === one.why).length;

async function draw() {
  const mine = turn, one = found[at];
  $("otherPath").textContent = one && !hides() ? one.path : "";
  layer.replaceChildren();
  if (!one) return;
  const { image, details } = await picture(one.id);
  if (mine !== turn || found[at] !== one) return;
  const copy = image?.cloneNode();
  if (copy) copy.alt = `Beside it: ${one.why}`;
  layer.replaceChildren(copy || make("p", {}, `This image cannot be shown. ${details.message}`));
  say(`Beside it: ${one.why}.`);
}

export function next() {
  if (!on || !found.length) return;
  at = (at + 1) % found.length;
  $("otherWhy").value = String(at);
  draw();
}

$("otherWhy").addEventListener("change", () => { at = Number($("otherWhy").value) || 0; draw(); });
$("otherNext").addEventListener("click", next);
