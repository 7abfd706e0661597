// A reader's own answers, to look at again and change.

import { $, counted, inWords, make, VERDICTS } from "./dom.js";
import * as api from "./api.js";
import { state } from "./one.js";
import { thumbnailOf } from "./pictures.js";

const MOST = 200;
let all = [], look = () => {}, turn = 0;

export async function open(again) {
  look = again;
  const mine = (turn += 1);
  const found = await api.get("mine");
  if (mine !== turn) return;
  all = found;
  const said = $("mineAnswer").value;
  $("mineAnswer").replaceChildren(make("option", { value: "" }, "any"),
    ...state.session.classes.map((name) => make("option", { value: `label ${name}` }, name)),
    ...Object.entries(VERDICTS).map(([verdict, words]) => make("option", { value: `${verdict} ` }, words)));
  $("mineAnswer").value = said || "";
  await write();
}

function wanted(one) {
  const { verdict, label, note } = one.answer;
  const text = $("mineText").value.trim().toLowerCase();
  const same = verdict === "label" && label === one.label;
  return (!$("mineAnswer").value || $("mineAnswer").value === `${verdict} ${label ?? ""}`)
    && (!$("mineOther").value || ($("mineOther").value === "same") === same)
    && `${state.unaided ? "" : one.path} ${note}`.toLowerCase().includes(text);
}

async function write() {
  const mine = (turn += 1);
  const items = all.filter(wanted);
  $("mineCount").textContent = `${counted(items.length, "answer")}${items.length > MOST ? `, the latest ${MOST} shown` : ""}`;
  const shown = items.slice(0, MOST), looks = new Map();
  for (let i = 0; i < shown.length; i += 100) {
    const query = new URLSearchParams(shown.slice(i, i + 100).map((one) => ["number", one.id]));
    for (const each of await (await api.bytes("looks", query)).json()) looks.set(each.id, each);
  }
  if (mine !== turn) return;
  $("mineTiles").replaceChildren(...(shown.length ? shown.map((one, i) => {
    const each = looks.get(one.id), visible = each?.state === "ok" || each?.state === "changed";
    const card = make("button", { type: "button", className: "thumb", title: state.unaided ? "" : one.path, onclick: () => look(items, i) },
      make("span", { className: "frame" }, visible ? make("img", { src: thumbnailOf(each), alt: "", loading: "lazy" }) : ""),
      make("span", { className: "caption" }, `${inWords(one.answer)}${one.answer.note ? " ✎" : ""}`));
    card.classList.toggle("other", one.answer.label !== one.label);
    card.setAttribute("aria-label", `${inWords(one.answer)}${state.unaided ? "" : `: ${one.path}`}. Look again`);
    return card;
  }) : [make("p", {}, all.length ? "None fits." : "You have not answered yet.")]));
}

for (const id of ["mineAnswer", "mineOther"]) $(id).addEventListener("change", write);
$("mineText").addEventListener("input", write);
