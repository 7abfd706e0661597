// The run as a whole: let the answers improve the labels, see what changed, certify, export.

import { $, counted, make, percent, present, say } from "./dom.js";
import * as api from "./api.js";
import { curve, rate } from "./curve.js";
import { state } from "./one.js";
import { thumbnailOf } from "./pictures.js";

let turn = 0, certify = () => {};

export async function open(certifyNow) {
  certify = certifyNow || certify;
  const mine = (turn += 1);
  const found = await api.get("run");
  if (mine !== turn) return;
  const last = found.rounds[found.rounds.length - 1];
  $("runSheet").replaceChildren(...present(
    make("h2", { id: "runTitle" }, state.session.run),
    make("p", {}, summary(found, last)),
    curve(found.rounds.filter((one) => one.error_rate !== null)),
    make("h3", {}, "Improve the labels"),
    make("p", { className: "quiet" }, found.waiting ? `${counted(found.waiting, "answered image")} that the other labels have not learnt from yet.` : "The labels have learnt from every answer."),
    make("div", { id: "runJob" }),
    ...changes(found),
    make("h3", {}, "Certificate"), ...certificate(found),
    make("h3", {}, "Export"), exporting(found),
  ));
  writeJob(found.job);
  if (found.job.state === "working") follow(mine);
  $("runSheet").focus({ preventScroll: true });
  pictures(found.changes.slice(0, 48), mine);
}

// One account of the last round, from its own record
function summary(found, last) {
  const parts = [`${found.images.toLocaleString("en")} images, of which readers answered ${found.answered.toLocaleString("en")}.`];
  if (last.number) {
    const others = found.changed - found.changed_by_readers;
    parts.push(`Round ${last.number} changed ${counted(found.changed, "label")}${found.changed ? `: ${found.changed_by_readers} by what readers said, ${others} by what the others learnt from it` : ""}.`);
  }
  parts.push(!found.meaningful ? "The labels that nobody answered are guesses: how many are wrong cannot be estimated."
    : last.error_rate === null ? "How many labels are wrong is not known." : `Labels estimated to be wrong now: ${rate(last.error_rate)}.`);
  return parts.join(" ");
}

function changes(found) {
  if (!found.changed) return [];
  return [make("h3", {}, `What round ${found.rounds.length - 1} changed`), make("div", { id: "runChanges", className: "cards" })];
}

async function pictures(shown, mine) {
  if (!shown.length) return;
  const looks = new Map();
  const query = new URLSearchParams(shown.map((one) => ["number", one.id]));
  for (const look of await (await api.bytes("looks", query)).json()) looks.set(look.id, look);
  if (mine !== turn) return;
  $("runChanges").replaceChildren(...shown.map((one) => {
    const look = looks.get(one.id);
    return make("figure", { className: "thumb", title: `${one.path}: ${one.why}` },
      make("span", { className: "frame" }, look?.fingerprint ? make("img", { src: thumbnailOf(look), alt: one.path, loading: "lazy" }) : ""),
      make("figcaption", { className: "caption" }, `${one.before} → ${one.after}`), make("span", { className: "quiet why" }, one.why));
  }));
}

function writeJob(job) {
  const box = $("runJob");
  if (!box) return;
  const start = (what, body) => async () => {
    try { writeJob(await api.tell(what, body)); follow(turn); } catch (error) { api.trouble(error.message, true); }
  };
  const words = { done: job.what === "export" ? `Exported: ${(job.result?.made || []).join(", ")}` : job.result?.new_round ? `Round ${job.result.round} is there.` : "Nothing changed: no answer is new.",
    failed: job.message, stopped: "Stopped. The run is as it was." }[job.state];
  if (job.state !== "working") {
    box.replaceChildren(...present(words ? make("p", { role: "status", className: job.state === "failed" ? "bad" : "" }, words) : null,
      make("button", { type: "button", id: "improve", className: "primary", onclick: start("update") }, "Improve the labels")));
    return;
  }
  const bar = make("progress", { max: job.total || 1 });
  if (job.total) bar.value = job.done; else bar.removeAttribute("value");
  bar.setAttribute("aria-label", job.step);
  const left = job.left ? `, about ${job.left < 90 ? `${Math.ceil(job.left)} s` : `${Math.ceil(job.left / 60)} min`} left in this step` : "";
  box.replaceChildren(make("p", {}, `${job.what === "export" ? "Exporting" : "Improving the labels"}: ${job.step}${job.total ? `, ${job.done} of ${job.total}` : ""}${left}. You can go on answering.`), bar,
    make("button", { type: "button", onclick: start("stop") }, "Stop"));
}

async function follow(mine) {  // until it is done
  for (;;) {
    await new Promise((soon) => { setTimeout(soon, 600); });
    if (mine !== turn || document.body.dataset.mode !== "run") return;
    const job = await api.get("job").catch(() => null);
    if (!job) continue;
    if (mine !== turn) return;
    writeJob(job);
    if (job.state === "working") continue;
    say($("runJob").textContent);
    if (job.state === "done" && job.what === "update") { Object.assign(state.session, await api.get("session")); await open(); }
    return;
  }
}

function certificate(found) {
  const draw = make("button", { type: "button", onclick: async () => {
    try {
      const drawn = await api.tell("certify", { max_error: Number(error.value), confidence: Number(sure.value) });
      if (drawn.left) certify(); else open();
    } catch (problem) { api.trouble(problem.message, true); }
  } }, found.sample ? "Go on with the sample" : "Draw a sample and answer it");
  const error = make("select", {}, ...["0.01", "0.02", "0.05", "0.1"].map((value) => make("option", { value, selected: value === "0.02" }, percent(value))));
  const sure = make("select", {}, ...["0.9", "0.95", "0.99"].map((value) => make("option", { value, selected: value === "0.95" }, percent(value))));
  const saved = found.certificate;
  return [
    saved ? make("div", { className: "card" }, ...saved.statement.split("\n").map((line) => make("p", {}, make("b", {}, line))), make("details", {}, make("summary", {}, "The whole certificate"), make("pre", {}, saved.text.replace(/\n {2,}/g, " "))),
      make("p", { className: "quiet" }, "Saved as certificate.txt and certified.csv in the folder of the run."))
      : make("p", { className: "quiet" }, "A random sample of the labels is answered blind; then it is promised how many of all labels are wrong at most."),
    make("div", { className: "actions" }, make("label", {}, "At most ", error, " wrong, "), make("label", {}, "with confidence ", sure), draw),
  ];
}

function exporting(found) {
  const format = make("select", { id: "exportFormat" }, ...found.formats.map((name) => make("option", {}, name)));
  const what = make("select", { id: "exportWhat" }, make("option", { value: "all" }, "all labels"), make("option", { value: "suspects" }, "the queue"));
  return make("div", { className: "actions" }, make("label", {}, "What ", what), make("label", {}, "for ", format),
    make("button", { type: "button", onclick: async () => {
      try { writeJob(await api.tell("export", { format: format.value, what: what.value })); follow(turn); } catch (error) { api.trouble(error.message, true); }
    } }, "Export"));
}
