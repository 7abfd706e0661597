// The runs in a folder: which there are, how far they are, and the way to each.

if (location.search) history.replaceState(null, "", location.pathname);  // the token stays out of sight
const $ = (id) => document.getElementById(id);
const keep = (value) => { try { if (value) localStorage.setItem("theme", value); return localStorage.getItem("theme"); } catch { return value; } };
const root = document.documentElement;
root.dataset.theme = keep() || "dark";
$("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light"; keep(root.dataset.theme); });

function cell(content, number = false) {
  const made = document.createElement("td");
  if (number) made.className = "number";
  made.append(content);
  return made;
}

function row(one) {
  const made = document.createElement("tr"), link = document.createElement("a");
  Object.assign(link, { href: one.address, textContent: one.name });
  if (one.problem) {
    made.append(cell(one.name), Object.assign(cell(one.problem), { colSpan: 5, className: "bad" }));
    return made;
  }
  const rate = !one.meaningful ? "guesses" : one.error_rate === null ? "unknown" : `${(100 * one.error_rate).toFixed(1)}%`;
  made.append(cell(link), cell(one.classes.length > 6 ? `${one.classes.slice(0, 6).join(", ")} and ${one.classes.length - 6} more` : one.classes.join(", ")),
    ...[one.images, one.answers, one.suspects].map((n) => cell(n.toLocaleString("en"), true)), cell(rate, true));
  return made;
}

const found = await (await fetch("api/runs", { credentials: "same-origin", cache: "no-store" })).json();
$("folder").textContent = found.folder;
document.title = `${found.folder} · autoannotate`;
const table = document.createElement("table"), head = document.createElement("tr");
for (const [name, number] of [["Run"], ["Classes"], ["Images", true], ["Answers", true], ["To review", true], ["Estimated wrong", true]]) {
  head.append(Object.assign(document.createElement("th"), { textContent: name, scope: "col", className: number ? "number" : "" }));
}
table.append(head, ...found.runs.map(row));
$("runs").replaceChildren(table);
