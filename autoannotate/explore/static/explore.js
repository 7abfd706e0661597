// The page: a map, a grid beside it, search, groups, and what goes with what.

import { $, counted, make, news, percent, say } from "/look/dom.js";
import { ofCode, ofNumber, PointMap } from "./map.js";

const FIRST = 60;  // tiles before "show more"
const MOST_AT_ONCE = 500;  // pictures on the map when zoomed in, before they are thinned
const TILE = 74;
const state = { about: null, map: null, column: null, only: null, chosen: null, rows: [], title: "", shown: FIRST, reader: "" };

async function ask(path, options = {}) {
  const response = await fetch(`/api/${path}`, { credentials: "same-origin", cache: "no-store", ...options });
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Error(said.detail || `The server answered ${response.status}.`);
}
const json = async (path, options) => (await ask(path, options)).json();
const post = (path, body) => json(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
const NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";  // where there are no pictures
const thumbnail = (i) => state.about.pictures ? `/api/items/${i}/thumbnail` : NOTHING;

function trouble(error) {
  $("trouble").hidden = !error;
  $("trouble").replaceChildren(error ? make("span", {}, error.message ?? String(error)) : "");
  if (error) $("trouble").append(make("button", { type: "button", onclick: () => trouble(null) }, "Understood"));
}
const tried = (action) => async (...given) => {
  try { await action(...given); } catch (error) { trouble(error); }
};

// Colours

async function colourBy(number) {
  const about = state.about.columns[number];
  const buffer = await (await ask(`columns/${number}`)).arrayBuffer();
  const values = about.levels ? new Int16Array(buffer) : new Float32Array(buffer);
  state.column = { ...about, number, values };
  state.only = null;
  repaint();
  legend();
}

function colourOf(i) {
  const { values, levels, low, high } = state.column;
  return levels ? ofCode(values[i]) : ofNumber((values[i] - low) / Math.max(high - low, 1e-12));
}

function repaint() {
  const { values, levels } = state.column;
  const only = levels && state.only !== null ? (i) => values[i] !== state.only : null;
  state.map.paint(colourOf, state.chosen, only);
}

function legend() {
  const { name, levels, counts, low, high, unknown } = state.column;
  const box = $("legend");
  const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
  const dot = (code) => { const i = make("i"); i.style.background = css(ofCode(code)); return i; };
  const rows = [make("strong", {}, name)];
  if (levels) {
    const order = levels.map((_, code) => code).filter((code) => counts[code]).sort((a, b) => counts[b] - counts[a]).slice(0, 40);
    for (const code of order) {
      rows.push(make("button", {
        type: "button", className: state.only !== null && state.only !== code ? "off" : "", title: "Show it alone",
        onclick: () => { state.only = state.only === code ? null : code; repaint(); legend(); },
      }, dot(code), levels[code] || "(none)", make("span", { className: "n" }, counts[code].toLocaleString("en"))));
    }
  } else {
    const ramp = make("div", { className: "ramp" });
    ramp.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 0.999].map((s) => css(ofNumber(s))).join(",")})`;
    const short = (value) => Number(value.toPrecision(4)).toLocaleString("en", { useGrouping: false });
    rows.push(ramp, make("div", { className: "ends" }, make("span", {}, short(low)), make("span", {}, short(high))));
  }
  if (unknown) rows.push(make("span", { className: "quiet" }, `${unknown.toLocaleString("en")} unknown (grey)`));
  box.replaceChildren(...rows);
}

// The map

let rest = 0;  // a pointer that crosses a crowd asks for no picture of each point
function hover(i, x, y) {
  const peek = $("peek");
  if (i < 0) { peek.hidden = true; clearTimeout(rest); return; }
  const [img, words] = [peek.firstElementChild, peek.lastElementChild];
  if (peek.hidden || peek.row !== i) {
    peek.row = i;
    img.src = NOTHING;
    const { name, levels, values } = state.column;
    const value = levels ? levels[values[i]] ?? "unknown" : Number.isFinite(values[i]) ? Number(values[i].toPrecision(4)) : "unknown";
    words.textContent = `${state.about.names[i] ?? `image ${i + 1}`} · ${name}: ${value}`;
    clearTimeout(rest);
    rest = setTimeout(() => {
      img.src = thumbnail(i);
      if (!state.about.names[i]) json(`items/${i}`).then((one) => { if (peek.row === i) words.textContent = `${one.path} · ${name}: ${value}`; }, () => {});
    }, 40);
  }
  peek.hidden = false;
  const { width, height } = state.map;
  peek.style.left = `${x + 216 > width ? x - 214 : x + 16}px`;
  peek.style.top = `${Math.min(y + 62, height - 160)}px`;
}

let soon = 0;
function moved() {
  clearTimeout(soon);
  place();
  soon = setTimeout(thumbnails, 120);
}
const onMap = new Map();  // row → its picture on the map
function place() {
  for (const [i, img] of onMap) { const [x, y] = state.map.screen(i); img.style.transform = `translate(${x}px, ${y}px)`; }
}
function thumbnails() {
  const { map } = state;
  const room = Math.floor((map.width / TILE) * (map.height / TILE));
  const rows = map.visible(MOST_AT_ONCE);
  const wanted = new Set();
  if (state.about.pictures && rows && (map.zoom > 2.5 || rows.length < room / 3)) {
    const taken = [];
    for (const i of [...onMap.keys()].filter((row) => rows.includes(row)).concat(rows)) {
      const [x, y] = map.screen(i);
      if (wanted.has(i) || taken.some(([a, b]) => Math.abs(a - x) < TILE && Math.abs(b - y) < TILE)) continue;
      taken.push([x, y]);
      wanted.add(i);
    }
  }
  for (const [i, img] of onMap) if (!wanted.has(i)) { img.remove(); onMap.delete(i); }
  for (const i of wanted) {
    if (!onMap.has(i)) onMap.set(i, $("pictures").appendChild(make("img", { src: thumbnail(i), alt: "" })));
    onMap.get(i).style.borderColor = `rgb(${colourOf(i).join(" ")})`;
  }
  place();
  $("shown").textContent = rows ? `${counted(rows.length, "image")} in view` : `${counted(map.count, "image")}`;
}

// The grid

function choose(rows, title, { find = false, act = true, stay = false } = {}) {
  Object.assign(state, { rows: Array.from(rows), title, shown: FIRST, chosen: rows.length ? new Set(rows) : null });
  $("act").hidden = !act || !rows.length;
  tab("chosen");
  grid();
  repaint();
  if (find && !stay) state.map.show(state.rows.slice(0, 40));
  say(`${title}: ${counted(rows.length, "image")}`);
}

function tile(i, caption = "") {
  const img = make("img", { src: thumbnail(i), alt: state.about.names[i] ?? `image ${i + 1}`, loading: "lazy" });
  return make("button", { type: "button", onclick: tried(() => look(i)), onmouseenter: () => state.map.ring([i]), onmouseleave: () => state.map.ring([]) },
    state.about.pictures ? img : make("span", { className: "name" }, img.alt), caption ? make("small", {}, caption) : null);
}

function captionOf(i) {
  const { levels, values } = state.column;
  return levels ? levels[values[i]] ?? "" : Number.isFinite(values[i]) ? String(Number(values[i].toPrecision(3))) : "";
}

function grid() {
  $("gridTitle").textContent = state.rows.length ? `${state.title} · ${counted(state.rows.length, "image")}` : state.title;
  $("found").replaceChildren(...state.rows.slice(0, state.shown).map((i) => tile(i, captionOf(i))));
  $("more").hidden = state.rows.length <= state.shown;
}

function tab(name) {
  for (const button of $("tabs").children) button.dataset.tab === name ? button.setAttribute("aria-current", "page") : button.removeAttribute("aria-current");
  for (const panel of document.querySelectorAll("[data-panel]")) panel.hidden = panel.id !== name;
}

async function look(i) {
  const one = await json(`items/${i}`);
  const box = $("closeup");
  box.querySelector(".frame").replaceChildren(make("img", { src: state.about.pictures ? `/api/items/${i}/view` : NOTHING, alt: one.path }));
  box.querySelector(".facts").replaceChildren(...Object.entries(one.facts).flatMap(([name, value]) => [make("span", {}, name), make("span", {}, String(value))]));
  state.looked = i;
  state.map.ring([i]);
  box.showModal();
}

// Search

const search = tried(async (how, path, options) => {
  trouble(null);
  const started = performance.now();
  const { rows, seconds } = await json(path, options);
  choose(rows, how, { find: true, stay: true });
  state.map.ring(rows.slice(0, 1));
  $("gridTitle").append(make("span", { className: "quiet" }, ` · best first, ${Math.round(performance.now() - started)} ms`));
  $("gridTitle").dataset.ms = String(Math.round(1000 * seconds));
});
const byFile = (file) => search(`Images like ${file.name}`, "picture", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });

// Groups

function groups(level = 0) {
  const { clusters, duplicates, outliers } = state.about;
  const levels = [...new Set(clusters.map((one) => one.level))];
  const strip = (rows) => make("div", { className: "tiles strip" }, ...rows.map((i) => tile(i)));
  const card = (title, quiet, rows, typical, show) => make("article", { className: "group" },
    make("header", {}, make("b", {}, title), make("span", { className: "quiet" }, quiet),
      make("button", { type: "button", onclick: tried(show) }, "Show")), strip(typical));
  const shown = clusters.filter((one) => one.level === level).map((one) => card(
    `Group ${one.number + 1}`,
    [counted(one.size, "image"), one.label ? `${percent(one.purity)} ${one.label}` : "", one.words.length ? `looks like ${one.words.join(", ")}` : "", one.suspects ? `${percent(one.suspects)} suspect` : ""].filter(Boolean).join(" · "),
    null, one.typical, async () => choose((await json(`clusters/${one.level}/${one.number}`)).rows, `Group ${one.number + 1} of level ${one.level + 1}`, { find: true }),
  ));
  $("groups").replaceChildren(
    make("div", { className: "levels", role: "group", "aria-label": "Level" }, ...levels.map((one) => make("button", {
      type: "button", "aria-pressed": String(one === level), onclick: tried(async () => {
        groups(one);
        const number = state.about.columns.findIndex((column) => column.name === `cluster, level ${one + 1}`);
        $("colour").value = String(number);
        await colourBy(number);
      }),
    }, `${clusters.filter((c) => c.level === one).length} groups`))),
    ...shown,
    make("h2", {}, `Nearly the same picture: ${counted(duplicates.length, "group")}`),
    ...duplicates.slice(0, 30).map((rows) => card(counted(rows.length, "image"), "", rows, rows.slice(0, 8), () => choose(rows, "Nearly the same picture", { find: true }))),
    make("h2", {}, `Unlike the others: ${counted(outliers.length, "image")}`),
    outliers.length ? card("Outliers", "the first stands out most", outliers, outliers.slice(0, 8), () => choose(outliers, "Unlike the others", { stay: true })) : make("p", { className: "quiet" }, "No image stands out."),
  );
}

// Associations

function goes() {
  const { associations, shortcuts, slices, notes, metadata } = state.about;
  const whole = associations.filter((one) => one.of === "images");
  const parts = associations.filter((one) => one.of !== "images" && one.q < 0.05);
  const fixed = (value, digits = 2) => (value === null ? "–" : value.toFixed(digits));
  const q = (value) => (value === null ? "–" : value < 0.001 ? "< 0.001" : value.toFixed(3));
  const table = (heads, rows) => make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))), make("tbody", {}, ...rows));
  const row = (...cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
  const bar = (share) => { const one = make("span", { className: "bar" }); one.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`; return one; };
  const parts1 = [];
  if (!metadata) parts1.push(make("p", {}, "Give a table with --metadata CSV (a column path, and age, sex, site, scanner… as you have them) to see what goes with what."));
  for (const note of notes) parts1.push(make("p", { className: "quiet" }, note));
  if (whole.length) {
    parts1.push(make("h2", {}, "Is it visible in the images?"), make("p", { className: "quiet" }, "Predicted for images that were not learned from (groups kept together). AUROC: 0.5 is chance, 1 is certain. R²: 0 is nothing. q: Benjamini–Hochberg."),
      table(["column", "how well", "95 %", "q"], whole.map((one) => row(one.column, make("span", {}, `${one.statistic === "auroc" ? "AUROC" : "R²"} ${fixed(one.effect)}`, bar(one.statistic === "auroc" ? 2 * one.effect - 1 : one.effect)), `${fixed(one.low)} – ${fixed(one.high)}`, q(one.q)))));
  }
  if (shortcuts.length) {
    const risky = shortcuts.filter((one) => one.risk);
    parts1.push(make("h2", {}, "Shortcut risk"), make("p", { className: risky.length ? "risk" : "quiet" }, risky.length ? "A model may learn the columns in red instead of the finding: they predict it as well as the images do, or (partial) the images are worse where they are the same." : "No column predicts a label as well as the images do, nor do the images owe one anything."),
      table(["label", "column", "by the column", "by the images", "same column", "risk"], shortcuts.map((one) => row(one.level, one.column, fixed(one.column_auroc), fixed(one.images_auroc), fixed(one.within_auroc), one.risk ? make("span", { className: "risk" }, one.risk) : ""))));
  }
  if (slices.length) {
    parts1.push(make("h2", {}, "Where labels are most doubtful"), table(["slice", "images", "doubtful", "elsewhere", "q"], slices.slice(0, 20).map((one) => row(`${one.column}: ${one.level}`, String(one.n), percent(one.wrong), percent(one.wrong_elsewhere), q(one.q)))));
  }
  if (parts.length) {
    parts1.push(make("h2", {}, "Groups and directions"), table(["of", "column", "effect", "95 %", "q"], parts.slice(0, 60).map((one) => row(one.of, one.level ? `${one.column}: ${one.level}` : one.column, `${{ share_difference: "Δ share", hedges_g: "g", rho: "ρ", eta: "η" }[one.statistic]} ${fixed(one.effect)}`, `${fixed(one.low)} – ${fixed(one.high)}`, q(one.q)))));
  }
  $("goes").replaceChildren(...parts1);
}

// What is done with chosen images

function whoReads() {
  return new Promise((resolve) => {
    if (state.reader) { resolve(state.reader); return; }
    const box = $("name");
    box.onclose = () => { state.reader = $("nameField").value.trim(); resolve(state.reader); };
    box.showModal();
    $("nameField").focus();
  });
}

async function labelAll() {
  const reader = await whoReads();
  if (!reader) return;
  const label = $("label").value;
  const { kept, refused } = await post("label", { reader, rows: state.rows, label }).catch((error) => { state.reader = ""; throw error; });
  $("undo").hidden = false;
  news(`${counted(kept, "image")} labelled ${label} by ${reader}.${refused ? ` ${counted(refused, "image")} could not be shown and got no label.` : ""} autoannotate update lets the others learn from it.`);
}

async function exported() {
  const blob = await (await ask("export", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ rows: state.rows }) })).blob();
  const link = make("a", { href: URL.createObjectURL(blob), download: "images.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 5000);
  news(`${counted(state.rows.length, "image")} written to images.csv in your downloads.`, 8);
}

async function start() {
  state.about = await json("collection");
  const about = state.about;
  state.reader = about.reader;
  $("run").textContent = about.title;
  const places = new Float32Array(await (await ask("map")).arrayBuffer());
  $("colour").replaceChildren(...about.columns.map((column, i) => make("option", { value: String(i) }, column.name)));
  state.map = new PointMap($("map"), places, {
    hover, moved,
    click: tried(async (i) => { if (i >= 0) await look(i); else if (state.chosen) { state.chosen = null; repaint(); } }),
    lasso: (rows) => { choose(rows, "Chosen on the map", { stay: true }); if ($("lasso").getAttribute("aria-pressed") === "true") $("lasso").click(); },
  });
  window.explored = state;  // for whoever looks with the browser's own tools
  await colourBy(0);
  $("label").replaceChildren(...about.classes.map((name) => make("option", {}, name)));
  for (const id of ["label", "labelAll", "queue"]) $(id).hidden = !about.is_run;
  if (!about.speaks) Object.assign($("words"), { disabled: true, placeholder: "These embeddings know no words" });
  if (!about.pictures) $("peek").firstElementChild.hidden = true;
  choose([], "Draw around images on the map, click one, or search.", { act: false });
  groups();
  goes();
}

$("colour").addEventListener("change", tried(async () => { await colourBy(Number($("colour").value)); if (state.rows.length) grid(); }));
$("lasso").addEventListener("click", () => {
  state.map.lassoing = !state.map.lassoing;
  $("lasso").setAttribute("aria-pressed", String(state.map.lassoing));
  $("map").classList.toggle("lasso", state.map.lassoing);
});
$("zoomIn").addEventListener("click", () => state.map.zoomBy(1.6));
$("zoomOut").addEventListener("click", () => state.map.zoomBy(1 / 1.6));
$("fit").addEventListener("click", () => { state.chosen = null; state.only = null; state.map.ring([]); state.map.fit(); repaint(); legend(); });
$("map").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-60, 0], ArrowRight: [60, 0], ArrowUp: [0, -60], ArrowDown: [0, 60] }[event.key];
  if (step) { const { map } = state; map.centre = map.toMap(map.width / 2 + step[0], map.height / 2 + step[1]); map.draw(); event.preventDefault(); }
  if (event.key === "+") state.map.zoomBy(1.6);
  if (event.key === "-") state.map.zoomBy(1 / 1.6);
});
for (const button of $("tabs").children) button.addEventListener("click", () => tab(button.dataset.tab));
$("more").addEventListener("click", () => { state.shown += 120; grid(); });
$("labelAll").addEventListener("click", tried(labelAll));
$("queue").addEventListener("click", tried(async () => { const { queued } = await post("queue", { rows: state.rows }); news(`${counted(queued, "image")} put first in the queue of autoannotate review.`); }));
$("export").addEventListener("click", tried(exported));
$("undo").addEventListener("click", tried(async () => { const { undone } = await post("undo", { reader: state.reader }); news(`${counted(undone, "answer")} taken back.`); $("undo").hidden = true; }));
$("alike").addEventListener("click", () => { $("closeup").close(); search("Images like this one", `similar/${state.looked}`); });
$("search").addEventListener("submit", (event) => { event.preventDefault(); const words = $("words").value.trim(); if (words) search(`“${words}”`, `search?${new URLSearchParams({ words })}`); });
$("byPicture").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => { const [file] = $("file").files; if (file) byFile(file); $("file").value = ""; });
$("theme").addEventListener("click", () => { const root = document.documentElement; root.dataset.theme = root.dataset.theme === "light" ? "" : "light"; });
$("help").addEventListener("click", () => $("about").showModal());
addEventListener("dragover", (event) => { event.preventDefault(); $("drop").hidden = false; });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
addEventListener("drop", (event) => { event.preventDefault(); $("drop").hidden = true; const [file] = event.dataTransfer.files; if (file) byFile(file); });

start().catch(trouble);
