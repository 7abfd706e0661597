// A screen full of images: mark the wrong ones or give them a class, confirm the rest at once.

import { $, counted, flash, make, news, say } from "./dom.js";
import * as api from "./api.js";
import * as conflict from "./conflict.js";
import * as filters from "./filters.js";
import * as marks from "./marks.js";
import * as selection from "./selection.js";
import * as tiles from "./tiles.js";
import { picture } from "./pictures.js";
import { state } from "./one.js";

const AT_ONCE = 3;  // batches that may be on their way to the server
const grid = { items: [], total: 0, labels: {}, page: [], looks: new Map(), ready: false, done: new Set() };
let turn = 0;

const guesses = () => !state.session.meaningful;
const usable = (one) => grid.looks.get(one.id)?.state === "ok";
const meant = (one) => (marks.has(one.path) ? marks.get(one.path) : one.label);
const mixed = () => !filters.label();

export async function open(seek = false) {  // seek: another class where this one has nothing left
  const mine = (turn += 1);
  grid.ready = false;
  const { classes, labels } = state.session;
  if (filters.label() === null) filters.set({ label: classes.find((name) => labels[name]) || classes[0] }, true);
  if (!grid.page.length) $("tiles").replaceChildren(make("p", { className: "quiet" }, "Loading …"));
  const first = filters.label();
  for (const name of new Set([first, ...(seek && first && !filters.narrowed() && !filters.like() ? classes.filter((each) => labels[each]) : [])])) {
    const found = await api.get("grid", { ...filters.query(), label: name });
    if (mine !== turn) return;
    if (name === first || found.total) { Object.assign(grid, found); filters.set({ label: name }, true); }
    if (found.total) break;
  }
  grid.items = grid.items.filter((one) => !grid.done.has(one.path));
  writeClasses();
  await turnPage();
}

async function looksOf(items, into) {
  const numbers = items.flatMap((one) => [one.id, ...one.members]).filter((id) => !into.has(id));
  for (let i = 0; i < numbers.length; i += 100) {
    const query = new URLSearchParams(numbers.slice(i, i + 100).map((id) => ["number", id]));
    for (const look of await (await api.bytes("looks", query)).json()) into.set(look.id, look);
  }
}

let ahead = { items: [], looks: new Map() };

async function turnPage() {
  const mine = (turn += 1);
  const [columns, rows] = filters.layout();
  const size = columns * rows;
  grid.shape = [columns, rows].join();
  grid.page = grid.items.slice(0, size);
  grid.ready = false;
  const kept = grid.page.every((one) => ahead.items.includes(one)) ? ahead.looks : new Map();
  grid.looks = kept;
  selection.clear();
  enlarge(null);
  await looksOf(grid.page, grid.looks);
  if (mine !== turn) return;
  grid.ready = true;
  tiles.forgetSeen();
  $("tiles").style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  $("tiles").style.gridTemplateRows = `repeat(${rows}, minmax(0, 1fr))`;
  const side = columns > 6 ? 208 : 480;
  const made = grid.page.map((one, i) => build(one, i + 1, side));
  $("gridAlike").hidden = !grid.page.some((one) => one.members.length);
  const none = filters.narrowed() || filters.like() || mixed() ? "No image fits." : `Nothing that the machine calls ${filters.label()} is left to confirm.`;
  tiles.forgetAhead();
  $("tiles").replaceChildren(...(made.length ? made : [make("p", {}, none)]));
  for (const one of grid.page) if (marks.has(one.path)) write(one);
  writeLeft();
  if (document.body.dataset.mode === "grid" && !document.activeElement?.closest(".gridbar")) made[0]?.focus({ preventScroll: true });
  say(made.length ? `${counted(made.length, "image")}. ${guesses() ? "Give them a class." : "Mark the wrong ones, then press Enter."}` : none);
  prefetch(grid.items.slice(size, 2 * size), side, mine);  // not waited for: keys go on working meanwhile
}

async function prefetch(items, side, mine) {
  if (!items.length) return;
  const looks = new Map();
  try {
    await looksOf(items, looks);
    ahead = { items, looks };
    await Promise.all(items.map((one) => tiles.fetchAhead(looks.get(one.id), side, () => mine === turn)));
  } catch { /* they are asked for again when they are needed */ }
}

function build(one, number, side) {
  const caption = mixed() || guesses() ? `${one.label}${guesses() ? "?" : ""}` : null;
  const shown = state.unaided ? { ...one, hidden: true } : one;
  const button = tiles.tile(shown, grid.looks.get(one.id), {
    number, side, caption: state.unaided && !mixed() ? null : caption,
    broken: (old) => { grid.looks.get(one.id).state = "unreadable"; old.replaceWith(build(one, number, side)); writeLeft(); },
  });
  button.addEventListener("click", (event) => {
    if (event.shiftKey && event.detail) selection.upTo(one.path);
    else if (event.ctrlKey || event.metaKey) selection.toggle(one.path);
    else if (selection.size() && !selection.paths().includes(one.path)) selection.clear();
    else mark(selection.size() ? chosen() : [one], marks.has(one.path) ? null : "");
  });
  return button;
}

const buttonOf = (one) => [...document.querySelectorAll("#tiles .tile")].find((button) => button.dataset.path === one.path);

export function renew() { grid.items = grid.items.slice(0, grid.page.length); }  // the labels changed: what comes after is asked anew

function write(one) {
  const button = buttonOf(one);
  if (!button || button.disabled) return;
  const words = marks.has(one.path) ? marks.get(one.path) || "wrong" : null;
  tiles.showMark(button, words);
  button.setAttribute("aria-label", tiles.named(state.unaided ? { ...one, hidden: true } : one, words ?? one.label, grid.page.indexOf(one) + 1));
}

function mark(items, label) {  // "" is wrong, to be named next (with two classes it is the other); a class is that class; null is as shown
  for (const one of items.filter(usable)) {
    const said = label === "" ? marks.wrong(one.label, state.session.classes) : label;
    marks.put(one.path, said === one.label && !guesses() ? null : said);
    write(one);
  }
  writeLeft();
  if (items.length) say(marks.has(items[0].path) ? `${marks.get(items[0].path) || "wrong"}.` : `${items[0].label}.`);
}

const confirmable = () => grid.page.filter((one) => usable(one) && tiles.wasSeen(one.path) && meant(one));
const named = () => confirmable().filter((one) => marks.has(one.path));

function writeLeft() {
  const waiting = grid.page.filter((one) => usable(one) && !tiles.wasSeen(one.path)).length;
  const plain = confirmable().filter((one) => !marks.has(one.path)).length;
  const other = grid.page.filter((one) => usable(one) && meant(one) === "").length;
  const given = named().length;
  $("gridLeft").textContent = `${(grid.total).toLocaleString("en")} left${waiting ? ` · ${waiting} not shown yet` : ""}`;
  const words = guesses() ? `Keep the ${given} named${other ? `, then name ${other}` : ""}`
    : mixed() ? `Confirm ${plain + given} as shown${other ? `, then name ${other}` : ""}`
      : `Confirm ${plain} as ${filters.label()}${other ? `, then name ${other}` : ""}`;
  $("confirm").replaceChildren(make("kbd", {}, "Enter"), ` ${words}`);
  $("confirm").disabled = !grid.page.some(usable) || (guesses() && !given && !other);
  $("gridGuesses").hidden = !guesses();
  $("confirmGuesses").hidden = !guesses() || !plain;
  $("confirmGuesses").textContent = mixed() ? `All ${plain} are right as guessed …` : `All ${plain} are ${filters.label()} …`;
  writeSelection();
}

function writeSelection() {
  const n = selection.size();
  $("gridSelection").hidden = !n;
  if (n) $("gridSelected").textContent = `${n} selected`;
}

function writeClasses() {
  const { classes } = state.session;
  const tab = (name, words, count) => {
    const button = make("button", { type: "button", onclick: () => { filters.set({ label: name, like: null }, true); open(); } }, `${words} `, make("span", { className: "quiet" }, String(count)));
    button.setAttribute("aria-pressed", String(name === filters.label()));
    return button;
  };
  const sum = Object.values(grid.labels).reduce((a, b) => a + b, 0);
  $("gridClasses").replaceChildren(...classes.map((name) => tab(name, name, grid.labels[name] || 0)), tab("", "All", sum));
  $("gridGive").replaceChildren(...classes.map((name, i) => make("button", { type: "button", onclick: () => give(name) },
    ...(i < 9 ? [make("kbd", { ariaHidden: "true" }, String(i + 1))] : []), ` ${name}`)));
}

function chosen() {
  const paths = new Set(selection.paths());
  return grid.page.filter((one) => paths.has(one.path));
}

function give(label) {
  mark(chosen(), label);
  selection.clear();
}

function answersFor(items) {
  const answers = [];
  for (const one of items) {
    for (const id of [one.id, ...one.members]) {
      const look = grid.looks.get(id);
      if (look?.state === "ok") answers.push({ path: look.path, verdict: "label", label: marks.has(one.path) ? meant(one) : one.says ?? one.label, fingerprint: look.fingerprint, previous: one.known[look.path] ?? null });
    }
  }
  return answers;
}

// all: the guesses too, which the reader was asked about once more
export async function confirm(nameThem, all = !guesses()) {
  if (!grid.page.length) return;
  if (api.isStuck()) { flash($("trouble").textContent); return; }
  if (!grid.ready || !grid.page.some((one) => !usable(one) || tiles.wasSeen(one.path))) {
    flash("That key was not taken: the pictures are not on the screen yet.");
    return;
  }
  if (api.onTheWay() >= AT_ONCE) { flash("That key was not taken: the answers before it are still on their way."); return; }
  const ready = all ? confirmable() : named();
  const wrong = grid.page.filter((one) => usable(one) && meant(one) === "" && tiles.wasSeen(one.path));
  if (!all && !ready.length && !wrong.length) {
    flash("These labels are guesses, and Enter confirms none: select images and give them a class.");
    return;
  }
  const answers = answersFor(ready);
  const gone = new Set([...ready, ...wrong]);
  const unseen = all ? grid.page.filter((one) => usable(one) && !tiles.wasSeen(one.path)) : [];
  const out = grid.page.filter((one) => !usable(one));
  if (unseen.length) news(`${counted(unseen.length, "image")} ${unseen.length === 1 ? "was" : "were"} not on the screen yet and ${unseen.length === 1 ? "was" : "were"} left out.`, 10);
  for (const one of ready) grid.done.add(one.path);
  grid.items = [...grid.items.filter((one) => !gone.has(one) && !out.includes(one)), ...out];  // what cannot be confirmed goes to the end
  grid.total -= gone.size;
  const saving = answers.length ? save(answers) : Promise.resolve();
  if (wrong.length) { await saving; nameThem(wrong.map((one) => ({ ...one, answer: null }))); return; }
  if (grid.items.some((one) => !out.includes(one)) && grid.items.length >= grid.page.length) turnPage(); else { await saving; await open(); }
}

async function save(answers) {
  try {
    const { progress, kept } = await api.answer(answers, `${counted(answers.length, "image")} of the grid`);
    Object.assign(state.session, progress);
    for (const { path } of answers) { marks.put(path, null); grid.done.delete(path); }
    document.dispatchEvent(new Event("progress"));
    say(`${counted(kept, "answer")} kept.`);
  } catch (error) {
    for (const { path } of answers) grid.done.delete(path);
    if (!error.standing?.length) { api.trouble(error.message, true); await open(); return; }
    const there = new Map(error.standing.map((old) => [old.path, old.id]));
    const replace = await conflict.choose(error.standing, answers) === "replace";
    const again = replace ? answers.map((each) => ({ ...each, previous: there.get(each.path) ?? each.previous })) : answers.filter((each) => !there.has(each.path));
    if (again.length) await save(again);
  }
}

export async function askAboutGuesses(nameThem) {
  const n = confirmable().length;
  $("sureTitle").textContent = "These labels are guesses";
  $("sureText").textContent = `The encoder cannot tell these classes apart. Did you look at each of the ${n} images, and are all of them ${mixed() ? "what is written on them" : filters.label()}?`;
  $("sureYes").textContent = "Yes, I looked at each";
  const box = $("sure");
  box.returnValue = "";
  box.showModal();
  await new Promise((done) => { box.addEventListener("close", done, { once: true }); });
  if (box.returnValue === "yes") await confirm(nameThem, true);
}

// A closer look in place, over the tile
export async function enlarge(path) {
  document.querySelector("#enlarged")?.remove();
  const one = grid.page.find((each) => each.path === path), button = one && buttonOf(one);
  if (!button) return;
  const figure = make("figure", { id: "enlarged" }, make("p", { className: "quiet" }, "Loading …"));
  const [tile, box] = [button.getBoundingClientRect(), $("grid").getBoundingClientRect()];
  const side = Math.min(box.width - 16, box.height - 16, Math.max(tile.width * 3, 420));
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  Object.assign(figure.style, { width: `${side}px`, height: `${side}px`,
    left: `${clamp(tile.left + tile.width / 2 - side / 2, box.left + 8, box.right - side - 8)}px`,
    top: `${clamp(tile.top + tile.height / 2 - side / 2, box.top + 8, box.bottom - side - 8)}px` });
  const close = () => { figure.remove(); button.focus({ preventScroll: true }); };
  figure.addEventListener("click", (event) => { if (!event.target.closest("button")) close(); });
  figure.dataset.path = path;
  document.body.append(figure);
  const { image, details } = await picture(one.id).catch((error) => ({ details: error }));
  if (!figure.isConnected) return;
  const copy = image?.cloneNode();
  if (copy) copy.alt = state.unaided ? "Image" : one.path;
  figure.replaceChildren(copy || make("p", {}, `This image cannot be shown. ${details.message}`),
    make("figcaption", {}, make("button", { type: "button", onclick: () => { figure.remove(); likeThis(one); } }, make("kbd", {}, "L"), " More like this"),
      make("button", { type: "button", onclick: close }, make("kbd", {}, "Z"), " Close")));
}

function likeThis(one) {
  filters.set({ label: "", like: { id: one.id, path: one.path } }, true);
  open();
}

export function showLike(one) {  // from the view of one image
  grid.page = [];
  filters.set({ label: "", like: { id: one.id, path: one.path } }, true);
}

export function key(event, classes) {  // true where it was one of the grid's
  const shown = [...document.querySelectorAll("#tiles .tile:not(:disabled)")];
  const at = shown.indexOf(document.activeElement);
  const [columns] = filters.layout();
  const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (event.key === "Escape") {
    if (document.querySelector("#enlarged")) enlarge(null); else if (selection.size()) selection.clear(); else return false;
    return true;
  }
  if (move) {
    if (event.shiftKey && at >= 0) selection.begin(shown[at].dataset.path);
    const to = shown[Math.min(Math.max(at < 0 ? 0 : at + move, 0), shown.length - 1)];
    to?.focus();
    if (event.shiftKey && to) selection.upTo(to.dataset.path);
    return true;
  }
  const focused = at >= 0 ? grid.page.find((each) => each.path === shown[at].dataset.path) : null;
  const digit = /^[1-9]$/.test(event.key) ? classes[Number(event.key) - 1] : undefined;
  if (digit && selection.size()) { give(digit); return true; }
  if (!focused) return false;
  if (digit) { mark([focused], digit); return true; }
  const letter = event.key.toLowerCase();
  if (letter === "z") { enlarge(document.querySelector("#enlarged")?.dataset.path === focused.path ? null : focused.path); return true; }
  if (letter === "l") { likeThis(focused); return true; }
  if (letter === "a") { selection.all(); return true; }
  return false;
}

tiles.onSeen(() => { cancelAnimationFrame(grid.frame); grid.frame = requestAnimationFrame(writeLeft); });
selection.onChange(writeSelection);
selection.listen(enlarge);
filters.onChange(() => { grid.page = []; open(); });
$("gridWrong").addEventListener("click", () => give(""));
$("gridNone").addEventListener("click", () => selection.clear());
let resized;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => { if (document.body.dataset.mode === "grid" && filters.layout().join() !== grid.shape) turnPage(); }, 200); });
