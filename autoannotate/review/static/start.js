// The runs in a folder: which there are, how far they are, the way to each; and labelling a folder into a new one.

if (location.search) history.replaceState(null, "", location.pathname);  // the token stays out of sight
const $ = (id) => document.getElementById(id);
const keep = (value) => { try { if (value) localStorage.setItem("theme", value); return localStorage.getItem("theme"); } catch { return value; } };
const root = document.documentElement;
root.dataset.theme = keep() || "dark";
$("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light"; keep(root.dataset.theme); });

const make = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(`api/${path}`, { credentials: "same-origin", cache: "no-store", ...options })
    .catch(() => { throw new Error("The server does not answer."); });
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(said.detail || `The server answered ${response.status}.`);
  return said;
}

const cell = (content, number = false) => make("td", { className: number ? "number" : "" }, content);

function row(one) {
  if (one.problem) return make("tr", {}, cell(one.name), make("td", { colSpan: 5, className: "bad" }, one.problem));
  const rate = !one.meaningful ? "guesses" : one.error_rate === null ? "unknown" : `${(100 * one.error_rate).toFixed(1)}%`;
  return make("tr", {}, cell(make("a", { href: one.address, textContent: one.name })),
    cell(one.classes.length > 6 ? `${one.classes.slice(0, 6).join(", ")} and ${one.classes.length - 6} more` : one.classes.join(", ")),
    ...[one.images, one.answers, one.suspects].map((n) => cell(n.toLocaleString("en"), true)), cell(rate, true));
}

async function list() {
  const found = await ask("runs");
  $("folder").textContent = found.folder;
  document.title = `${found.folder} · autoannotate`;
  const head = make("tr", {}, ...[["Run"], ["Classes"], ["Images", true], ["Answers", true], ["To review", true], ["Estimated wrong", true]]
    .map(([name, number]) => make("th", { scope: "col", className: number ? "number" : "" }, name)));
  $("runs").replaceChildren(found.runs.length ? make("table", {}, head, ...found.runs.map(row)) : make("p", { className: "quiet" }, "There is no run here yet."));
  $("begin").hidden = !found.allowed.length;
  $("allowed").replaceChildren(...found.allowed.map((value) => make("option", { value })));
  const words = $("prompts").value;
  $("prompts").replaceChildren(make("option", { value: "" }, "none"), ...found.prompts.map((name) => make("option", { selected: name === words }, name)));
  if (found.allowed.length && $("modalities").childElementCount === 0) await choices();
  if (!$("images").value && found.allowed.length === 1) { [$("images").value] = found.allowed; proposeName(); }
  return found;
}

// What the command's options can be
async function choices() {
  const { models, modalities } = await ask("choices");
  $("modalities").replaceChildren(...modalities.map((value) => make("option", { value })));
  $("model").replaceChildren(...models.map((one) => make("option", { value: one.name }, one.here ? one.name : `${one.name} (fetched first: ${one.megabytes.toLocaleString("en")} MB)`)));
  const tell = () => { const one = models.find(({ name }) => name === $("model").value); $("modelHow").textContent = `Good for ${one.good_for}. Licence: ${one.licence}.`; };
  $("model").onchange = tell;
  tell();
}

const words = () => ({ classes: $("classes").value, several: Boolean($("several").value), modality: $("modality").value, prompts: $("prompts").value });

$("preview").addEventListener("click", async () => {
  trouble("");
  $("understood").replaceChildren();
  try {
    const found = await ask("prompts", words());
    $("understood").replaceChildren(make("ul", {}, ...found.map((one) => make("li", {}, make("b", {}, one.name),
      one.says_something ? `: ${one.sense || "taken as it stands"}. ` : ": the name says nothing about a picture, so its labels would be guesses. ",
      make("span", { className: "quiet" }, one.texts.map((text) => `“${text}”`).join(", "))))));
  } catch (error) { trouble(error.message); }
});

const proposeName = () => { if (!$("name").dataset.typed) $("name").value = $("images").value.split("/").filter(Boolean).pop()?.concat("-run") || ""; };
$("images").addEventListener("input", proposeName);
$("name").addEventListener("input", () => { $("name").dataset.typed = $("name").value; });

function trouble(text) {
  $("beginTrouble").hidden = !text;
  $("beginTrouble").textContent = text;
}

let last = "";
function write(job) {
  const working = job.state === "working";
  $("label").disabled = working;
  if (working) {
    const bar = make("progress", { max: job.total || 1 });
    if (job.total) bar.value = job.done;
    bar.setAttribute("aria-label", job.step);
    const left = job.left ? `, about ${job.left < 90 ? `${Math.ceil(job.left)} s` : `${Math.ceil(job.left / 60)} min`} left in this step` : "";
    $("job").replaceChildren(make("p", {}, `Labelling: ${job.step}${job.total ? `, ${job.done} of ${job.total}` : ""}${left}.`), bar,
      make("button", { type: "button", id: "stop", onclick: async () => { write(await ask("stop", {})); } }, "Stop"));
    return;
  }
  const words = { done: job.result && `${job.result.name} is there: ${job.result.images.toLocaleString("en")} images, ${job.result.suspects.toLocaleString("en")} to review.`,
    failed: job.message, stopped: "Stopped. What was encoded is kept: label the folder again to go on." }[job.state];
  $("job").replaceChildren(...words ? [make("p", { className: job.state === "failed" ? "bad" : "" }, words)] : []);
  if (words && words !== last) $("live").textContent = words;
  last = words;
}

async function follow() {  // until it is done
  for (;;) {
    const job = await ask("job").catch(() => null);
    if (job) write(job);
    if (job && job.state !== "working") break;
    await new Promise((soon) => { setTimeout(soon, 600); });
  }
  await list();
}

$("beginForm").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("job").replaceChildren();
  trouble("");
  try {
    write(await ask("label", { ...words(), images: $("images").value, name: $("name").value, fast: $("fast").checked, model: $("model").value }));
    delete $("name").dataset.typed;
    await follow();
  } catch (error) { trouble(error.message); }
});

const found = await list();
write(found.job);
if (found.job.state === "working") await follow();
