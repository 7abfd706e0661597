// The page as a whole: who reads, which way to work, and the keys.

import { $, counted, make, news, say } from "./dom.js";
import * as api from "./api.js";
import * as classes from "./classes.js";
import * as marks from "./marks.js";
import * as one from "./one.js";
import * as findings from "./findings.js";
import * as filters from "./filters.js";
import * as grid from "./grid.js";
import * as answers from "./answers.js";
import * as readers from "./readers.js";
import * as run from "./run.js";
import * as stack from "./stack.js";
import * as viewer from "./viewer.js";
import * as compare from "./compare.js";
import { besidePicture } from "./curve.js";
import { forgetAll } from "./pictures.js";

const keep = { get: (name) => { try { return localStorage.getItem(name); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem(name, value); } catch { /* private window */ } } };
const state = one.state;
const { left, waiting } = one;
let queueFor = null;
let round = null;  // of the run, as the page shows it

if (location.search) history.replaceState(null, "", location.pathname);  // the token stays out of sight and out of bookmarks

// Modes
function view(name) {
  for (const main of document.querySelectorAll("[data-view]")) main.hidden = main.id !== name;
  document.body.dataset.mode = name;
}

function current(mode) {
  for (const button of document.querySelectorAll("[data-mode]:not(body)")) {
    if (button.dataset.mode === mode) {
      button.setAttribute("aria-current", "page");
      button.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else button.removeAttribute("aria-current");
  }
}

let way = 0;  // the latest wish; what was asked for before and arrives later is let go

async function go(mode) {
  const mine = (way += 1);
  current(mode);
  news("");
  grid.enlarge(null);
  await api.settled();
  if (mode === "proposals") { await queue(mode); return; }
  if (mode === "one" || mode === "disputes") { await queue(mode === "one" ? "suspects" : mode); return; }
  await refresh();
  if (mine !== way) return;
  view({ answers: "answersView", run: "runView" }[mode] || mode);
  document.body.dataset.mode = mode;
  if (mode === "answers") await answers.open(again);
  if (mode === "run") await run.open(certifyNow);
  if (mode === "grid") await grid.open(true);
  if (mode === "readers") await readers.open(() => go("disputes"));
}
const safely = (work) => work.catch((error) => api.trouble(error.message, true));

async function refresh() {
  Object.assign(state.session, await api.get("session"));
  $("toProposals").hidden = !state.session.proposals;
  besidePicture(state.session);
}

async function queue(which, at = -1) {
  const mine = way;
  const [found] = await Promise.all([api.get("queue", { which: which === "disputes" ? "disagreements" : which }), refresh()]);
  if (mine !== way) return;
  queueFor = which;
  round = found.round;
  view("one");
  if (which === "suspects" && !found.items.length && state.session.images) {
    await queue("rest");  // nothing is in doubt: the other labels, the most doubtful first
    if (mine === way && left()) news("No label is in doubt. These are the others, the least sure first; the Grid shows forty at a time.");
    return;
  }
  if (one.start(found.items, which, at, null, found.more)) { $("viewer").focus({ preventScroll: true }); watch(found.lookalikes); } else done(which);
}

function watch(lookalikes) {  // similar images are found while the first ones are looked at
  if (lookalikes !== "working") return;
  const again = setInterval(async () => {
    const session = await api.get("session").catch(() => null);
    if (!session || session.lookalikes === "working") return;
    clearInterval(again);
    if (state.which !== "suspects" || document.body.dataset.mode !== "one" || api.isWaiting()) return;
    const path = one.item()?.path, found = await api.get("queue", { which: "suspects" });
    forgetAll();
    const at = found.items.findIndex((each) => each.path === path);
    if (path === one.item()?.path) one.start(found.items, "suspects", at, null, found.more);
  }, 2500);
}

// `autoannotate update`, in a terminal, changes labels and queue while the page is open
setInterval(async () => {
  if (document.hidden || round === null || api.isWaiting()) return;
  const now = await api.get("round").catch(() => null);
  if (now && now.round !== round) await safely(renew());
}, 2500);

async function renew() {
  const mode = document.body.dataset.mode, was = one.item(), mine = way;
  const quiet = () => mine === way && mode === document.body.dataset.mode && was === one.item() && !api.isWaiting();
  const words = "The labels were updated. ";
  const asking = mode === "one" && was && state.which === queueFor;
  let which = queueFor === "rest" ? "suspects" : queueFor, found = null;
  await refresh();
  if (asking) found = await api.get("queue", { which: which === "disputes" ? "disagreements" : which });
  if (queueFor === "rest" && found && !found.items.length) found = await api.get("queue", { which: which = "rest" });
  if (!quiet()) return;  // an answer came between: once more
  round = state.session.round;
  forgetAll();
  if (mode === "done") {
    await go(["disputes", "proposals"].includes(state.which) && (state.which === "disputes" || state.session.proposals) ? state.which : "one");
    if (document.body.dataset.mode === "one") news(`${words}This is the new queue: ${counted(waiting(), "image")} to look at.`, 20);
  } else if (asking) {
    queueFor = state.which = which;
    one.renew(found.items, found.more);
    news(`${words}After this image comes the new queue: ${waiting().toLocaleString("en")} left.`, 20);
  } else {
    if (mode === "grid") grid.renew();
    news(`${words}What is asked next takes that into account.`, 20);
  }
}

function name(items) {  // the wrong ones of a grid, one by one, then back to the grid
  view("one");
  current("grid");
  one.start(items, "grid", 0, () => safely(go("grid")));
  $("viewer").focus({ preventScroll: true });
  say(`${counted(items.length, "image")} to name.`);
}

function again(items, at) {  // one's own answers, to look at again
  view("one");
  one.start(items, "mine", at, () => safely(go("answers")));
  $("viewer").focus({ preventScroll: true });
}

async function certifyNow() {  // the sample of a certificate, blind and in its random order
  const mine = (way += 1);
  const found = await api.get("queue", { which: "sample" });
  if (mine !== way) return;
  view("one");
  if (!one.start(found.items, "sample", -1, () => safely(certified()))) { await certified(); return; }
  $("viewer").focus({ preventScroll: true });
  news("A random sample for the certificate: say what you see. What the machine thinks is hidden.");
}

async function certified() {
  await api.settled();
  await api.tell("certify");
  await go("run");
}

function done(which) {
  if (state.more) { safely(queue(queueFor)); return; }  // the next part of a long queue
  view("done");
  const { session } = state, total = state.items.length;
  const disputes = which === "disputes", checks = which === "proposals";
  $("doneTitle").textContent = disputes ? "No disagreement waits for you" : checks ? "All samples are answered: an update decides" : total || session.answered ? "All answered. Thank you!" : "Nothing is in doubt";
  $("doneGain").textContent = one.gain(session);
  $("doneNext").replaceChildren(
    disputes ? make("p", {}, "When two readers disagree, or one is unsure, the image comes here for another.")
      : make("div", {}, make("h3", {}, "What now"), make("p", {}, "Let the answers improve the other labels, and get a shorter, better queue:"),
        make("button", { type: "button", className: "primary", onclick: () => safely(go("run")) }, "Improve the labels ", make("kbd", {}, "E")),
        make("p", { className: "quiet" }, "The same in a terminal: ", make("code", {}, session.update)),
        make("p", {}, "Or go through the labels that nobody doubted: forty at a time in the grid, or one by one.")),
    make("div", { className: "actions" },
      make("button", { type: "button", onclick: () => safely(go("grid")) }, "Grid ", make("kbd", {}, "G")),
      which === "suspects" ? make("button", { type: "button", onclick: () => safely(queue("rest")) }, "The others one by one, most doubtful first") : null,
      make("button", { type: "button", onclick: () => doing.undo() }, make("kbd", {}, "⌫"), " Undo"),
      total ? make("button", { type: "button", onclick: () => doing.back() }, make("kbd", {}, "←"), " Look back") : null),
  );
  document.querySelector("#done .sheet").focus({ preventScroll: true });
  say($("doneTitle").textContent);
}

one.onProgress((what) => {
  if (what === "done") done(state.which);
  if (what === "one") view("one");
});
document.addEventListener("progress", () => { $("gain").textContent = one.gain(state.session); });

// What the buttons and keys do
const doing = {
  zoom: () => viewer.toggleZoom(), zoomIn: () => viewer.zoom(1.4), zoomOut: () => viewer.zoom(1 / 1.4),
  invert: () => viewer.invert(), reset: () => viewer.reset(), compare: () => safely(compare.toggle(one.item())),
  skip: () => one.skip(), split: () => one.split(), said: () => safely(one.said()),
  back: () => {
    if (document.body.dataset.mode !== "done") { one.back(); return; }
    view("one");
    one.showAt(state.items.length - 1);
  },
  undo: () => safely(undo()),
};

async function undo() {
  if (api.isStuck()) { say($("trouble").textContent); return; }
  const back = await api.undo();
  const first = one.applyUndo(back);
  const words = back.undone.length ? `Taken back: ${counted(back.undone.length, "answer")}.` : "There is nothing to take back.";
  const mode = document.body.dataset.mode;
  if (mode === "grid") { await refresh(); await grid.open(); } else if (first >= 0) {
    view("one");
    await one.showAt(first);
  } else if (back.undone.length && queueFor) {  // it was given elsewhere: in a grid, or before this queue
    current(queueFor === "disputes" ? "disputes" : "one");
    const found = await api.get("queue", { which: queueFor === "disputes" ? "disagreements" : queueFor });
    const ids = new Set(back.undone.map((each) => each.id));
    view("one");
    if (!one.start(found.items, queueFor, found.items.findIndex((each) => ids.has(each.id)), null, found.more)) done(queueFor);
  }
  say(words);
}

const KEYS = [
  ["1 – 9", "a class; of several findings it switches one, then letters, and with Shift it is unsure"], ["Enter", "accept the suggestion"], ["U", "unsure"], ["0", "none of these classes"],
  ["X", "not usable: not an image worth keeping"], ["N", "note; Enter goes back"], ["Backspace", "undo, any number of times"],
  ["← →", "back, skip"], ["Z  +  −", "zoom; wheel or pinch too"], ["↑ ↓  Space", "slices of a volume, series or cine: step, play; wheel too (Ctrl and wheel zooms)"], ["I", "invert"], ["W", "the next window preset"], ["O  B", "side by side; another one beside it"], ["Shift + arrows", "window and level; or drag"],
  ["R", "reset the view"], ["S", "nearly identical images one by one"], ["L", "more like this one, in the grid"], ["A  Shift + arrows", "in the grid: select"], ["H", "hide what the machine says"],
  ["C  J K", "spot checks: as it is, or as proposed"], ["/", "find a class"], ["Q G D", "one by one, grid, disagreements"], ["M P E", "my answers, readers, run"], ["T", "dark or light"], ["?", "this help"],
];

const LETTERS = {
  q: () => safely(go("one")), g: () => safely(go("grid")), d: () => safely(go("disputes")), p: () => safely(go("readers")),
  c: () => { if (!$("toProposals").hidden) safely(go("proposals")); },
  m: () => safely(go("answers")), e: () => safely(go("run")),
  t: () => theme(), h: () => unaided(!state.unaided), "?": () => help(), Backspace: doing.undo,
};
const IN_ONE = {
  u: () => one.answer("unsure"), 0: () => one.answer("none"), x: () => one.answer("discard"), Enter: () => one.accept(),
  ArrowLeft: doing.back, ArrowRight: doing.skip, z: doing.zoom, "+": doing.zoomIn, "=": doing.zoomIn, "-": doing.zoomOut,
  ArrowUp: () => stack.step(-1), ArrowDown: () => stack.step(1), " ": () => stack.play(),
  i: doing.invert, r: doing.reset, o: doing.compare, b: () => compare.next(), w: () => viewer.preset(), s: doing.split, v: () => { if (!$("dispute").hidden) doing.said(); },
  j: () => one.compare(false), k: () => one.compare(true),
  n: () => $("note").focus(), "/": () => { if (!$("finder").hidden) $("filter").focus(); },
};

addEventListener("keydown", (event) => {
  if (!state.session || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input:not([type=range], [type=checkbox], [type=radio]), textarea, select");
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "z" && !typing) {
    event.preventDefault();
    doing.undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (typing) { inField(event); return; }
  if (!$("shortcuts").checked) return;
  let key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (/^Digit[0-9]$/.test(event.code) && !event.shiftKey && !/^[-+=]$/.test(key)) key = event.code.slice(5);  // on any layout
  const mode = document.body.dataset.mode;
  const button = event.target.closest("button");
  if (event.target.matches("input, summary, a") && (key === "Enter" || key === " " || key.startsWith("Arrow"))) return;
  if (mode === "grid" && key === "Enter" && (!button || button.matches(".tile"))) {
    event.preventDefault();
    if (!event.repeat) safely(grid.confirm(name));
    return;
  }
  if (button && (key === "Enter" || key === " ")) { if (event.repeat) event.preventDefault(); return; }  // the button's own
  if (mode === "grid" && grid.key(event, state.session.classes)) { event.preventDefault(); return; }
  if (mode === "one" && event.shiftKey && key.startsWith("Arrow")) {
    event.preventDefault();
    const [dx, dy] = { ArrowLeft: [-20, 0], ArrowRight: [20, 0], ArrowUp: [0, -12], ArrowDown: [0, 12] }[key];
    viewer.windowLevel(dx, dy);
    return;
  }
  if (mode === "one" && findings.several() && findings.key(event)) { event.preventDefault(); return; }
  let act = LETTERS[key];
  if (mode === "one") act = IN_ONE[key] || act || (/^[1-9]$/.test(key) && state.session.classes[key - 1] && (() => one.answer("label", state.session.classes[key - 1])));
  if (mode === "done" && key === "ArrowLeft") act = doing.back;
  if (!act) return;
  event.preventDefault();
  if (event.repeat && !["+", "=", "-"].includes(key)) return;  // a key held down is one answer, not forty
  act();
});

function inField(event) {
  const field = event.target;
  if (event.key === "Escape") { if (field.id === "filter") classes.clear(); if (document.body.dataset.mode === "one") $("viewer").focus(); return; }
  if (event.key !== "Enter" || !["note", "filter"].includes(field.id)) return;
  event.preventDefault();
  if (field.id === "note") {
    const { answer } = one.item();  // a note to an image that is answered already goes with the same answer again
    if (answer && answer.note !== field.value.trim()) one.answer(answer.verdict, answer.label);
    $("viewer").focus();
    return;
  }
  const first = classes.found();
  if (!first) return;
  classes.clear();
  $("viewer").focus();
  choose(first);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.mode && button !== document.body) safely(go(button.dataset.mode));
  if (button.dataset.do) doing[button.dataset.do]();
  if (button.dataset.verdict) one.answer(button.dataset.verdict);
  // After a click the keys are the page's again: Enter must not press the button that was clicked last
  if (event.detail > 0 && button.closest("#one") && document.body.dataset.mode === "one" && !document.querySelector("dialog[open]")) {
    $("viewer").focus({ preventScroll: true });
  }
});
$("accept").addEventListener("click", () => one.accept());
$("keepLabel").addEventListener("click", () => one.compare(false));
$("takeProposed").addEventListener("click", () => one.compare(true));
$("confirm").addEventListener("click", () => safely(grid.confirm(name)));
$("confirmGuesses").addEventListener("click", () => safely(grid.askAboutGuesses(name)));

// Looks and settings
function theme(wanted) {
  const root = document.documentElement;
  root.dataset.theme = wanted || (root.dataset.theme === "light" ? "dark" : "light");
  keep.set("theme", root.dataset.theme);
}
$("theme").addEventListener("click", () => theme());
theme(keep.get("theme") || "dark");  // as in a reading room

function unaided(on) {
  state.unaided = $("unaided").checked = on;
  keep.set("unaided", on ? "1" : "");
  if (document.body.dataset.mode === "one" && one.item()) one.showAt(state.at);
  say(on ? "What the machine says is hidden." : "What the machine says is shown.");
}
$("unaided").addEventListener("change", () => unaided($("unaided").checked));
$("shortcuts").addEventListener("change", () => keep.set("shortcuts", $("shortcuts").checked ? "" : "off"));
$("keepView").checked = keep.get("keepView") === "1";
$("keepView").addEventListener("change", () => keep.set("keepView", $("keepView").checked ? "1" : ""));
viewer.keepView(() => $("keepView").checked);
compare.listen(() => one.hides());
$("shortcuts").checked = keep.get("shortcuts") !== "off";
state.unaided = $("unaided").checked = keep.get("unaided") === "1";

function help() { $("keys").showModal(); }
$("help").addEventListener("click", help);
$("keyList").replaceChildren(...KEYS.flatMap(([keys, does]) => [make("dt", {}, make("kbd", {}, keys)), make("dd", {}, does)]));

// Who reads
async function begin(reader) {
  api.setReader(reader);
  state.session = await api.get("session");
  try { sessionStorage.setItem("reader", reader); } catch { /* private window */ }
  $("reader").textContent = reader;
  $("reader").setAttribute("aria-label", `Reader: ${reader}. Change the reader`);
  $("run").textContent = state.session.run;
  document.title = `${state.session.run} · review · autoannotate`;
  marks.openMarks(state.session.run, reader);
  findings.build(state.session, async (label) => (await api.get("broken", { label: label ?? "" })).broken);
  classes.build(state.session.classes, choose, findings.several() ? findings.KEYS : undefined, state.session.parents);
  if (state.session.copied) api.trouble("The images look copied since they were labelled: whether one of them was replaced before that cannot be told.", true);
  filters.build();
  await go(state.session.proposals ? "proposals" : "one");
}

function choose(name, shift = false) {  // a class is the answer, a finding is one of several
  if (findings.several()) findings.toggle(name, shift); else one.answer("label", name);
}

function askName(known) {
  $("names").replaceChildren(...known.map((value) => make("option", { value })));
  $("nameField").value = api.whoReads();
  $("nameTrouble").hidden = true;
  $("name").showModal();
  $("nameField").select();
}
$("name").addEventListener("submit", async (event) => {
  event.preventDefault();
  await api.settled();
  const before = api.whoReads();
  try {
    await begin($("nameField").value);
    $("name").close();
    $("viewer").focus({ preventScroll: true });
  } catch (error) {
    api.setReader(before);
    $("nameTrouble").textContent = error.message;
    $("nameTrouble").hidden = false;
  }
});
$("name").addEventListener("cancel", (event) => { if (!api.whoReads()) event.preventDefault(); });
$("reader").addEventListener("click", async () => askName((await api.get("hello")).readers));

if (/\/run\/[^/]+\/$/.test(location.pathname)) {  // the run is one of several: the name leads back to the list
  const back = Object.assign(document.createElement("a"), { href: "../../", title: "All runs" });
  const brand = document.querySelector("h1 .brand");
  brand.replaceWith(back);
  back.append(brand);
}

async function arrive() {
  const hello = await api.get("hello");
  let last = null;
  try { last = sessionStorage.getItem("reader"); } catch { /* private window */ }
  const reader = last || hello.reader;
  if (reader) await begin(reader);
  else askName(hello.readers);
}
arrive().catch((error) => api.trouble(error.message));
