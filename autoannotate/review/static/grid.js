// Forty images that the machine thinks are one class: mark the wrong ones, confirm the rest in one stroke.

import { $, counted, make, present, say } from "./dom.js";
import * as api from "./api.js";
import { thumbnailOf } from "./pictures.js";
import { closer, state } from "./one.js";

const PAGE = 40;
const grid = { label: null, items: [], total: 0, page: [], marks: new Map(), looks: new Map(), busy: false };
let turn = 0;

export async function open(label = grid.label, seek = false) {  // seek: another class where this one has nothing left
  const mine = (turn += 1);
  const { classes, labels } = state.session;
  const first = classes.includes(label) ? label : classes.find((name) => labels[name]) || classes[0];
  $("tiles").replaceChildren(make("p", { className: "quiet" }, "Loading …"));
  for (const name of new Set([first, ...(seek ? classes.filter((each) => labels[each]) : [])])) {
    const found = await api.get("grid", { label: name, order: $("gridOrder").value });
    if (mine !== turn) return;
    if (name === first || found.total) Object.assign(grid, found, { label: name });
    if (found.total) break;
  }
  writeClasses();
  await turnPage();
}

async function looksOf(items) {
  const numbers = items.flatMap((one) => [one.id, ...one.members]).filter((id) => !grid.looks.has(id));
  for (let i = 0; i < numbers.length; i += 100) {
    const query = new URLSearchParams(numbers.slice(i, i + 100).map((id) => ["number", id]));
    for (const look of await (await api.bytes("looks", query)).json()) grid.looks.set(look.id, look);
  }
}

async function turnPage() {
  const mine = (turn += 1);
  grid.page = grid.items.slice(0, PAGE);
  grid.marks = new Map();
  grid.looks = new Map();
  await looksOf(grid.page);
  if (mine !== turn) return;
  const tiles = grid.page.map(tile);
  $("gridAlike").hidden = !grid.page.some((one) => one.members.length);
  $("tiles").replaceChildren(...(tiles.length ? tiles : [make("p", {}, `Nothing that the machine calls ${grid.label} is left to confirm.`)]));
  writeLeft();
  if (document.body.dataset.mode === "grid") tiles[0]?.focus({ preventScroll: true });
  say(tiles.length ? `${counted(tiles.length, "image")} that the machine calls ${grid.label}. Mark the wrong ones, then press Enter.` : `Nothing left to confirm as ${grid.label}.`);
  const next = grid.items.slice(PAGE, 2 * PAGE);  // the next forty, while these are looked at
  if (next.length) {
    const query = new URLSearchParams(next.map((one) => ["number", one.id]));
    const looks = await (await api.bytes("looks", query)).json();
    for (const look of looks) if (mine === turn && look.fingerprint) await new Promise((done) => {
      const image = new Image();
      image.onload = image.onerror = done;
      image.src = thumbnailOf(look);
    });
  }
}

const usable = (one) => {
  const look = grid.looks.get(one.id);
  return look && look.state === "ok";
};

function tile(one) {
  const look = grid.looks.get(one.id);
  const number = grid.page.indexOf(one) + 1;
  const button = make("button", { type: "button", className: "tile", title: one.path });
  button.dataset.path = one.path;
  if (!usable(one)) {
    button.classList.add("out");
    button.disabled = true;
    button.textContent = look.state === "changed" ? "Changed since it was labelled: answer it one by one" : "Cannot be shown";
    return button;
  }
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", named(one, grid.label, number));
  const image = make("img", { src: thumbnailOf(look), alt: "", draggable: false });
  image.onerror = () => { look.state = "unreadable"; button.replaceWith(tile(one)); writeLeft(); };
  button.append(...present(image, one.members.length ? make("span", { className: "badge" }, `×${one.members.length + 1}`) : null));
  button.addEventListener("click", () => mark(one, button, grid.marks.has(one.id) ? null : ""));
  return button;
}

const named = (one, label, number) => `Image ${number}, ${label}: ${one.path}${
  one.members.length ? `, and ${counted(one.members.length, "nearly identical image")}` : ""}`;

export function renew() {  // the labels changed meanwhile: what is on the screen stays, what comes after is asked for anew
  grid.items = grid.items.slice(0, PAGE);
}

function mark(one, button, label) {  // "" is wrong, to be named next; a class is that class; null is right
  if (label === null || label === grid.label) grid.marks.delete(one.id);
  else grid.marks.set(one.id, label);
  const wrong = grid.marks.has(one.id);
  button.setAttribute("aria-pressed", String(wrong));
  button.querySelector(".mark")?.remove();
  const words = label || "wrong";
  if (wrong) button.append(make("span", { className: "mark" }, words));
  button.setAttribute("aria-label", named(one, wrong ? words : grid.label, grid.page.indexOf(one) + 1));
  writeLeft();
  say(wrong ? `${words}.` : `${grid.label}.`);
}

function writeLeft() {
  const right = grid.page.filter((one) => usable(one) && !grid.marks.has(one.id)).length;
  const open = [...grid.marks.values()].filter((label) => !label).length;
  $("gridLeft").textContent = `${grid.total.toLocaleString("en")} left`;
  $("confirm").replaceChildren(
    make("kbd", {}, "Enter"), ` Confirm ${right} as ${grid.label}${open ? `, then name ${open}` : ""}`,
  );
  $("confirm").disabled = !grid.page.some(usable);
}

function writeClasses() {
  const { classes, labels } = state.session;
  $("gridClasses").replaceChildren(...classes.map((name) => {
    const button = make("button", { type: "button", onclick: () => open(name) }, `${name} `, make("span", { className: "quiet" }, String(labels[name] || 0)));
    button.setAttribute("aria-pressed", String(name === grid.label));
    return button;
  }));
}

export async function confirm(nameThem) {
  if (grid.busy || !grid.page.length) return;
  if (api.isStuck()) { say($("trouble").textContent); return; }
  const answers = [], wrong = [];
  for (const one of grid.page.filter(usable)) {
    const label = grid.marks.has(one.id) ? grid.marks.get(one.id) : grid.label;
    if (!label) { wrong.push({ ...one, answer: null }); continue; }
    for (const id of [one.id, ...one.members]) {
      const look = grid.looks.get(id);
      if (look.state === "ok") answers.push({ path: look.path, verdict: "label", label, fingerprint: look.fingerprint });
    }
  }
  grid.busy = true;
  try {
    if (answers.length) {
      const { progress, kept } = await api.stroke(answers, `${counted(answers.length, "image")} of the grid`);
      Object.assign(state.session, progress);
      onProgressSafely();
      say(`${counted(kept, "answer")} kept.`);
    }
    const out = new Set(grid.page.filter((one) => !usable(one)).map((one) => one.id));
    const held = grid.page.filter((one) => out.has(one.id));
    grid.items = [...grid.items.slice(PAGE), ...held];  // what cannot be confirmed here goes to the end
    grid.total -= grid.page.length - held.length;
    if (wrong.length) nameThem(wrong);
    else if (grid.items.some((one) => !out.has(one.id)) && grid.items.length >= PAGE) await turnPage();
    else await open();
  } catch (error) {
    api.trouble(error.message, true);
    await open();
  } finally {
    grid.busy = false;
  }
}

function onProgressSafely() { document.dispatchEvent(new Event("progress")); }

export function key(event, classes) {  // true where it was one of the grid's
  const tiles = [...document.querySelectorAll(".tile:not(:disabled)")];
  const at = tiles.indexOf(document.activeElement);
  const columns = getComputedStyle($("tiles")).gridTemplateColumns.split(" ").length;
  const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (move && !event.target.matches("select")) {
    tiles[Math.min(Math.max(at < 0 ? 0 : at + move, 0), tiles.length - 1)]?.focus();
    return true;
  }
  const one = at >= 0 ? grid.page.find((each) => each.path === tiles[at].dataset.path) : null;
  if (!one) return false;
  const digit = /^[1-9]$/.test(event.key) ? classes[Number(event.key) - 1] : undefined;
  if (digit) { mark(one, tiles[at], digit); return true; }
  if (event.key.toLowerCase() === "z") { closer(one); return true; }
  return false;
}

$("gridOrder").addEventListener("change", () => open());
