// One image at a time: show it, say what the machine thinks, take one answer, go on.

import { $, counted, flash, inWords, make, percent, say } from "./dom.js";
import * as api from "./api.js";
import * as classes from "./classes.js";
import * as sideBySide from "./compare.js";
import * as conflict from "./conflict.js";
import * as findings from "./findings.js";
import * as marks from "./marks.js";
import * as stack from "./stack.js";
import * as viewer from "./viewer.js";
import { forget, picture, thumbnailOf } from "./pictures.js";

const AHEAD = 4;
export const state = {
  session: null, items: [], more: 0, at: 0, since: 0, shown: null, alone: false, which: "suspects", then: null, unaided: false,
};
let turn = 0;
let typing = false;  // an answer waits until the one before is on the server's disk, so at most one can be lost
let after = () => {};

export const onProgress = (listener) => { after = listener; };
export const item = () => state.items[state.at];
const open = (one) => !one.answer;
const unseen = (details) => details.state === "gone" || details.state === "unreadable";
// Nearly identical images that one answer is for: none where a file is no longer what it was when they were compared
const groupOf = (one, details) => (details.state !== "ok" ? []
  : details.group.filter((other) => one.members.includes(other.id) && other.state === "ok"));
export const left = () => state.items.filter(open).length;
export const waiting = () => left() + state.more;  // of a long queue a part is here
const all = () => state.items.length + state.more;

export function start(items, which, at = -1, then = null, more = 0) {
  Object.assign(state, { items, which, then, more });
  const first = at >= 0 ? at : items.findIndex(open);
  if (first < 0) return false;
  showAt(first);
  return true;
}

export function renew(items, more = 0) {  // the queue changed meanwhile: the image on the screen stays, the new queue comes after it
  const now = item(), at = items.findIndex((each) => each.path === now.path);
  if (at < 0) items.unshift(now);
  else items[at] = now;
  Object.assign(state, { items, more, at: Math.max(at, 0) });
  $("position").textContent = `${state.at + 1} of ${all()}`;
  writeProgress();
  if (state.shown) ahead();
}

export async function showAt(index) {
  const mine = (turn += 1);
  state.at = index;
  state.alone = false;
  state.shown = null;
  const one = item();
  write(one);
  const coming = picture(one.id);
  const slow = setTimeout(() => { if (mine === turn) { viewer.show(null); stack.show(null); lock(true); } }, 120);
  let shown;
  try {
    shown = await coming;
  } catch (error) {
    if (mine !== turn) return;
    clearTimeout(slow);
    viewer.show({ details: { message: error.message } });
    stack.show(null);
    lock(true);
    setTimeout(() => { if (mine === turn) showAt(index); }, 1500);
    return;
  }
  clearTimeout(slow);
  if (mine !== turn) return;
  state.shown = shown;
  state.since = performance.now();
  viewer.show(shown, `Image ${index + 1} of ${all()}${hides() ? "" : `: ${one.path}`}`);
  stack.show(shown);
  document.body.dataset.shown = one.path;
  warn(one, shown.details);
  if (!hides() && !findings.several()) classes.order(shown.details.likely);
  lock(false);
  // The picture first: all else waits until it is drawn
  requestAnimationFrame(() => setTimeout(() => {
    if (mine !== turn) return;
    beside(one, shown.details);
    say(spoken(one, shown.details));
    ahead();
    sideBySide.show(one.id);
    check(mine, shown);
  }, 0));
}

// It was loaded ahead: is the file still the same, and what was answered of its neighbours since?
async function check(mine, { details }) {
  await api.settled();
  const now = await api.get(`items/${details.id}`).catch(() => null);
  if (!now || mine !== turn) return;
  if (now.fingerprint !== details.fingerprint) {
    forget(details.id);
    showAt(state.at);
  } else if (JSON.stringify(now.neighbours) !== JSON.stringify(details.neighbours)) {
    details.neighbours = now.neighbours;
    beside(item(), details);
  }
}

function ahead() {  // what comes next is loaded while this one is looked at
  const next = [];
  for (let i = state.at + 1; i < state.items.length && next.length < AHEAD; i += 1) if (open(state.items[i])) next.push(i);
  if (state.at + 1 < state.items.length && !next.includes(state.at + 1)) next.push(state.at + 1);
  if (state.at > 0) next.push(state.at - 1);
  next.reduce((before, i) => before.then(() => picture(state.items[i].id)).catch(() => {}), Promise.resolve());
}

export const hides = () => Boolean(item()?.blind) || (state.unaided && !item()?.answer);
const guesses = (one) => !state.session.meaningful && one.source !== "clinician";
// The class that Enter takes: none that is a guess, and none that the reader marked as wrong
export const suggestion = (one) => (!one || one.blind || hides() || guesses(one) || !state.session.classes.includes(one.suggested)
  || marks.denies(one.path, one.suggested) ? null : one.suggested);

function write(one) {
  const total = all();
  $("position").textContent = `${state.at + 1} of ${total}`;
  const hidden = hides();
  $("path").textContent = $("path").title = hidden ? "" : one.path;
  const machine = { clip: "CLIP", student: "the student", given: "the table that it came with" }[one.source] || one.source;
  const takes = suggestion(one);
  $("labelled").textContent = one.answer
    ? `You answered: ${inWords(one.answer)}`
    : findings.several() ? `Labelled ${findings.inWords(one.label)} by ${machine}`
    : guesses(one) ? `A guess, since ${machine} cannot tell these classes apart: ${one.label}`
      : `Labelled ${one.label} by ${machine}, ${percent(one.confidence ?? 0)} sure`;
  $("suggestion").textContent = !takes ? "Which is it?" : takes === one.label ? `Is it ${takes}?` : `Rather ${takes}?`;
  $("reasons").replaceChildren(...one.reason.split("; ").filter(Boolean).map((reason) => make("li", {}, reason)));
  if (marks.get(one.path) === "" && !one.answer) $("reasons").prepend(make("li", {}, `you marked ${one.label} as wrong`));
  for (const id of findings.several() ? ["labelled", "reasons"] : ["labelled", "suggestion", "reasons"]) $(id).hidden = hidden && !(id === "labelled" && one.answer);
  writeProposal(one);
  $("card").hidden = Boolean(one.proposal) || hidden && !(one.blind && one.answer) && !findings.several();
  $("accept").replaceChildren(make("kbd", {}, "Enter"), ` Accept ${takes}`);
  $("accept").hidden = !takes;
  for (const button of document.querySelectorAll("#classes button")) {
    const name = button.dataset.label;
    button.classList.toggle("hint", name === takes);
    button.setAttribute("aria-pressed", String(one.answer?.label === name));
  }
  if (findings.several()) findings.write(one, hidden);
  classes.order([]);
  classes.clear();
  for (const button of document.querySelectorAll("[data-verdict]")) {
    button.setAttribute("aria-pressed", String(one.answer?.verdict === button.dataset.verdict));
  }
  $("note").value = one.answer?.note || "";
  $("dispute").hidden = state.which !== "disputes";
  $("said").textContent = "";
  $("same").hidden = true;
  $("warning").hidden = true;
  writeProgress();
}

function writeProposal(one) {  // the label it has and the proposed one, side by side
  const { proposal } = one;
  $("proposal").hidden = !proposal;
  if (!proposal) return;
  $("proposalGroup").textContent = `${proposal.group}, if a random sample bears it out.`;
  $("proposalAt").textContent = one.answer ? `You answered: ${inWords(one.answer)}` : `Image ${proposal.at} of ${proposal.of} of this sample. Which is it?`;
  for (const [id, key, label, what] of [["keepLabel", "J", proposal.label, one.label === proposal.label ? "as it is" : "as it was"], ["takeProposed", "K", proposal.proposed, "proposed"]]) {
    $(id).replaceChildren(make("kbd", {}, key), ` ${label} `, make("span", { className: "quiet" }, what));
    $(id).setAttribute("aria-pressed", String(one.answer?.label === label));
  }
}

export function compare(proposed) {
  const proposal = item()?.proposal;
  if (proposal) answer("label", proposed ? proposal.proposed : proposal.label);
}

export function writeProgress() {
  const { session } = state;
  const total = all(), todo = waiting();
  $("left").textContent = `${todo.toLocaleString("en")} left`;
  $("bar").max = total || 1;
  $("bar").value = total - todo;
  $("gain").textContent = gain(session);
  after();
}

export function gain(session) {
  if (!session.answered) return session.meaningful ? "Every answer is kept at once." : "About 20 answers of each class teach the other labels.";
  const parts = [`${counted(session.corrected, "label")} put right`, `${session.confirmed} confirmed`];
  if (session.unsure) parts.push(`${session.unsure} unsure`);
  if (session.errors_before && session.meaningful) parts.push(`wrong labels, estimated: ${session.errors_before} → ${session.errors_left}`);
  return parts.join(" · ");
}

function warn(one, details) {  // what one must know before answering
  const warning = details.state === "changed" ? details.message : "";
  $("warning").hidden = !warning;
  $("warning").textContent = warning;
  const group = groupOf(one, details);
  $("same").hidden = !group.length;
  writeGroup(one, details);
}

function beside(one, details) {
  $("sameThumbs").replaceChildren(...groupOf(one, details).map((other) => thumb(other, one)));
  $("near").hidden = Boolean(one.blind) || (!details.neighbours.length && details.lookalikes === "none");
  $("nearThumbs").replaceChildren(
    ...(details.neighbours.length ? details.neighbours.map((other) => thumb(other, one))
      : [make("p", { className: "quiet" }, details.lookalikes === "working" ? "Still being found …" : "None.")]),
  );
}

function thumb(other, one) {
  const visible = !unseen(other);
  const caption = hides() && !other.yours ? "" : `${other.yours ? "✓ " : ""}${other.label}`;
  const button = make("button", {
    type: "button", className: "thumb", title: hides() ? "" : other.path, onclick: () => closer(other),
  }, make("span", { className: "frame" }, visible ? make("img", { src: thumbnailOf(other), alt: "", loading: "eager" }) : null),
  make("span", { className: "caption" }, caption || "\u00a0"));
  button.setAttribute("aria-label", `${caption ? other.label : "image"}${other.yours ? ", your answer" : ""}${hides() ? "" : `: ${other.path}`}. Look closer`);
  button.classList.toggle("other", Boolean(caption) && !hides() && other.label !== one.label);
  return button;
}

export async function closer(other) {
  const box = $("closer");
  const frame = box.querySelector(".frame");
  frame.replaceChildren("Loading …");
  box.showModal();
  const { image, details } = await picture(other.id);
  const copy = image?.cloneNode();
  if (copy) copy.alt = hides() ? "" : other.path;
  frame.replaceChildren(copy || `This image cannot be shown. ${details.message}`);
}

function writeGroup(one, details) {
  const alike = groupOf(one, details).length;
  const split = document.querySelector('[data-do="split"]');
  split.setAttribute("aria-pressed", String(state.alone));
  $("sameTitle").textContent = state.alone ? "Nearly identical, answered one by one"
    : `Nearly identical: one answer for ${alike === 1 ? "both" : `all ${alike + 1}`}`;
}

export function split() {
  if ($("same").hidden || item().answer || !state.shown) return;
  state.alone = !state.alone;
  writeGroup(item(), state.shown.details);
  say($("sameTitle").textContent);
}

function spoken(one, details) {
  const where = `Image ${state.at + 1} of ${all()}.`;
  if (unseen(details)) return `${where} It cannot be shown. ${details.message}`;
  const alike = groupOf(one, details).length;
  const group = alike ? ` Your answer is for ${alike + 1} nearly identical images.` : "";
  const warned = details.state === "changed" ? ` Careful: ${details.message}` : "";
  if (one.answer) return `${where} You answered ${inWords(one.answer)}.${warned}`;
  return hides() ? where + group + warned
    : `${where} Labelled ${one.label}. ${suggestion(one) ? `Suggestion: ${suggestion(one)}. ` : ""}${one.reason}.${group}${warned}`;
}

function lock(locked) {
  const blind = state.shown && unseen(state.shown.details);
  for (const button of document.querySelectorAll("#classes button, #accept, #proposal button, [data-verdict]")) {
    const needsSight = !["unsure", "discard"].includes(button.dataset.verdict);
    button.disabled = locked || (blind && needsSight);
  }
}

export async function answer(verdict, label = null) {
  const one = item(), shown = state.shown;
  if (!one || document.body.dataset.mode !== "one") return;
  if (typing) { flash("That key was not taken: the answer before it is still on its way."); return; }
  if (!shown) { flash("That key was not taken: the image is still loading."); return; }
  if (api.isStuck()) { say($("trouble").textContent); return; }
  const details = shown.details;
  if (unseen(details) && !["unsure", "discard"].includes(verdict)) { say("This image cannot be shown, so it can't be given a class."); return; }
  typing = true;
  await api.settled();
  typing = false;
  if (state.shown !== shown || item() !== one) return;
  const note = $("note").value.trim();
  const seconds = Math.min((performance.now() - state.since) / 1000, 3600);
  const members = state.alone ? [] : groupOf(one, details);
  const answers = [one, ...members].map((each) => ({
    path: each.path, verdict, label, note, seconds, fingerprint: each === one ? details.fingerprint : each.fingerprint,
    previous: one.known[each.path] ?? null,
  }));
  const before = { answer: one.answer, members: one.members };
  one.answer = { verdict, label, note };
  if (state.alone && one.members.length) divide(one);
  const index = state.items.indexOf(one), items = state.items;
  say(`${inWords(one.answer)}.`);
  const saving = keep(one, answers);
  onward();
  try {
    const progress = await saving;
    Object.assign(state.session, progress);
    if (state.items === items || state.items.includes(one)) writeProgress();
  } catch (error) {  // the server refused: nothing was kept, so nothing is shown as answered
    Object.assign(one, before);
    forget(one.id);
    for (const member of members) forget(member.id);
    if (document.body.dataset.mode === "done") after("one");
    await showAt(Math.max(index, 0));
    api.trouble(error.message, true);
  }
}

async function keep(one, answers) {  // asks where another tab answered otherwise
  try {
    const { progress, ids } = await api.answer(answers, `${one.path}, ${inWords(answers[0])}`);
    Object.assign(one.known, ids);
    for (const { path } of answers) marks.put(path, null);
    return progress;
  } catch (error) {
    if (!error.standing?.length) throw error;
    for (const old of error.standing) one.known[old.path] = old.id;
    if (await conflict.choose(error.standing, answers) === "replace") {
      return keep(one, answers.map((each) => ({ ...each, previous: one.known[each.path] ?? null })));
    }
    const there = error.standing.find((old) => old.path === one.path);
    if (there) one.answer = { verdict: there.verdict, label: there.label, note: there.note };
    const kept = new Set(error.standing.map((old) => old.path));
    const others = answers.filter((each) => !kept.has(each.path));
    return others.length ? keep(one, others) : api.get("session");
  }
}

function divide(one) {  // the others of a group that is answered one by one come next, those in the queue
  const rest = one.members;
  one.members = [];
  const known = state.shown.details.group.filter((other) => rest.includes(other.id));
  const extra = known.map((other) => ({
    ...one, id: other.id, path: other.path, label: other.label, answer: null, members: [],
    known: {}, reason: "nearly the same picture as the one before", suggested: one.answer.label || one.suggested,
  }));
  state.items.splice(state.items.indexOf(one) + 1, 0, ...extra);
}

function onward() {
  const next = state.items.findIndex((one, i) => i > state.at && open(one));
  const other = next >= 0 ? next : state.items.findIndex(open);
  if (other >= 0) showAt(other);
  else finish();
}

function finish() {
  turn += 1;
  state.shown = null;
  writeProgress();
  const then = state.then;
  // a moment later, when the last answer's gain is known too
  api.settled().then(() => new Promise((soon) => { setTimeout(soon, 0); })).then(() => { if (left()) return; if (then) then(); else after("done"); });
}

export function accept() {
  if (findings.several()) { answer(...findings.answer()); return; }
  const takes = suggestion(item());
  if (takes) answer("label", takes); else flash("Enter takes nothing here: choose a class.");
}
export const back = () => { if (state.at > 0) showAt(state.at - 1); };
export function skip() {
  if (state.at + 1 < state.items.length) showAt(state.at + 1);
  else if (!left()) finish();
  else showAt(state.items.findIndex(open));
}

export function applyUndo({ undone, standing, progress }) {
  Object.assign(state.session, progress);
  const paths = new Set(undone.map((each) => each.path));
  let first = -1;
  state.items.forEach((one, i) => {
    if (!paths.has(one.path)) return;
    one.answer = standing[one.path];
    for (const path of Object.keys(one.known)) if (path in standing) one.known[path] = standing[path]?.id ?? null;
    if (first < 0) first = i;
  });
  return first;
}

export async function said() {
  const one = item();
  const labels = await api.get(`items/${one.id}/said`);
  if (one === item()) $("said").textContent = labels.map((label) => inWords({ verdict: label, label })
    || label).join(", ") || "nothing more";
}
