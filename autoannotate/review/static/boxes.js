// Proposals about boxes, one after another: what it is, what it should be, and a key to take or to drop it.

if (location.search) history.replaceState(null, "", location.pathname);  // the token stays out of sight
const $ = (id) => document.getElementById(id);
const remember = (key, value) => { try { if (value !== undefined) localStorage.setItem(key, value); return localStorage.getItem(key); } catch { return value; } };
const root = document.documentElement;
root.dataset.theme = remember("theme") || "dark";
$("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light"; remember("theme", root.dataset.theme); });

async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(said.detail || `The server answered ${response.status}.`);
  return said;
}

function trouble(text) { $("trouble").hidden = !text; $("trouble").textContent = text; }

const { reader, proposals } = await ask("api/proposals");
$("reader").value = reader || remember("reader") || "";
$("reader").addEventListener("change", () => remember("reader", $("reader").value));
let at = Math.max(0, proposals.findIndex((one) => one.decision === "open"));
const past = [];
let last = Promise.resolve();  // what is being kept or shown: keys pressed meanwhile wait, none is lost

const WORDS = { cut: "Cut at the border", turned: "Put its corners in order", moved: "Move the box", relabelled: "Another class", dropped: "Leave the box out", added: "Add a box" };
function inWords(one) {
  const what = WORDS[one.change] || one.change;
  if (one.change === "added") return `${what}: ${one.suggested}`;
  return one.suggested && one.suggested !== one.label ? `${what}: ${one.label} → ${one.suggested}` : `${what}: ${one.label}`;
}

const SVG = "http://www.w3.org/2000/svg";
function drawn(svg, view, address, size, marks) {
  svg.setAttribute("viewBox", view.join(" "));
  const image = document.createElementNS(SVG, "image");
  for (const [name, value] of Object.entries({ href: address, width: size.width, height: size.height, preserveAspectRatio: "none" })) image.setAttribute(name, value);
  const boxes = marks.map(([kind, [x, y, right, bottom]]) => {
    const made = document.createElementNS(SVG, "rect");
    const [left, top] = [Math.min(x, right), Math.min(y, bottom)];
    for (const [name, value] of Object.entries({ class: kind, x: left, y: top, width: Math.abs(right - x), height: Math.abs(bottom - y) })) made.setAttribute(name, value);
    return made;
  });
  svg.replaceChildren(image, ...boxes);
}

async function show() {
  const one = proposals[at];
  const decided = proposals.filter((each) => each.decision !== "open").length;
  $("at").textContent = `Proposal ${at + 1} of ${proposals.length}`;
  $("done").textContent = `${decided} decided`;
  Object.assign($("bar"), { max: proposals.length, value: decided });
  $("change").textContent = inWords(one);
  const kept = one.change === "added" || one.change === "dropped" ? "" : `; ${Math.round(100 * one.overlap)}% overlap with the box as it is`;
  $("detail").textContent = `${one.detail}${kept}`;
  $("path").textContent = one.path;
  for (const [id, said] of [["take", "take"], ["drop", "drop"]]) $(id).setAttribute("aria-pressed", String(one.decision === said));
  $("live").textContent = `${$("at").textContent}: ${$("change").textContent}. ${$("detail").textContent}`;
  try {
    const size = await ask(`api/proposals/${one.proposal}`);
    if (proposals[at] !== one) return;
    const address = `api/proposals/${one.proposal}/picture`;
    const same = (box) => one.old && box.every((value, i) => Math.abs(value - one.old[i]) < 1e-3);
    const marks = [...size.others.filter((box) => !same(box)).map((box) => ["rest", box]), ...(one.old ? [["old", one.old]] : []), ...(one.new ? [["new", one.new]] : [])];
    drawn($("whole"), [0, 0, size.width, size.height], address, size, marks);
    const all = [one.old, one.new].filter(Boolean);
    const [left, top] = [0, 1].map((i) => Math.min(...all.map((box) => Math.min(box[i], box[i + 2]))));
    const [right, bottom] = [0, 1].map((i) => Math.max(...all.map((box) => Math.max(box[i], box[i + 2]))));
    const side = Math.max(24, 1.8 * Math.max(right - left, bottom - top));
    drawn($("near"), [(left + right - side) / 2, (top + bottom - side) / 2, side, side], address, size, marks);
    trouble("");
  } catch (error) {
    $("whole").replaceChildren();
    $("near").replaceChildren();
    trouble(error.message);
  }
}

function go(to) {
  at = Math.min(proposals.length - 1, Math.max(0, to));
  return show();
}

const after = (act) => { last = last.then(act); };

async function decide(decision, index = at) {
  if (!$("reader").value.trim()) { trouble("Say who you are first: your name is kept with each decision."); $("reader").focus(); return; }
  try {
    const one = proposals[index];
    one.decision = (await ask("api/decisions", { proposal: one.proposal, decision, reader: $("reader").value })).decision;
    trouble("");
    if (decision === "open") { at = index; } else {
      past.push(index);
      const later = proposals.findIndex((each, i) => i > index && each.decision === "open");
      const open = later >= 0 ? later : proposals.findIndex((each) => each.decision === "open");
      at = open >= 0 ? open : Math.min(index + 1, proposals.length - 1);
      if (open < 0) $("live").textContent = "All proposals are decided.";
    }
    await show();
  } catch (error) { trouble(`Not kept: ${error.message}`); }
}
const reopen = async () => { if (past.length) await decide("open", past.pop()); };

const KEYS = { t: () => decide("take"), d: () => decide("drop"), u: reopen, arrowleft: () => go(at - 1), arrowright: () => go(at + 1) };
const BUTTONS = { take: "t", drop: "d", back: "arrowleft", next: "arrowright", reopen: "u" };
for (const [id, key] of Object.entries(BUTTONS)) $(id).addEventListener("click", () => after(KEYS[key]));
addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const act = KEYS[event.key.toLowerCase()];
  if (act) { event.preventDefault(); after(act); }
});
after(show);
