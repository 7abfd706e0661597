// Several findings an image: a toggle each, preset as the machine proposes, and one answer for all of them.

import { $, flash, make, percent, say } from "./dom.js";

export const KEYS = "123456789abcfjkowy";  // letters that the page does not use itself
let names = [], about = {}, values = {}, check = async () => "";

export function build(session, broken) {
  names = Object.keys(session.findings);
  about = session.findings;
  check = broken;
}

export const several = () => names.length > 0;
export const inWords = (label) => (label ? label.replaceAll("|", ", ") : "none of them");

export function write(one, hidden) {  // the reader's own answer, else what the machine proposes, else nothing
  const said = one.answer ? parse(one.answer) : null;
  values = Object.fromEntries(names.map((name) => [name, said ? said[name] ?? 0 : hidden ? 0 : one.findings?.[name]?.proposed ?? 0]));
  for (const button of document.querySelectorAll("#classes button")) {
    const machine = hidden ? null : one.findings?.[button.dataset.label];
    button.classList.toggle("hint", Boolean(machine?.suspect && about[button.dataset.label].meaningful));
    button.querySelector(".quiet")?.remove();
    if (machine) button.append(make("span", { className: "quiet" }, about[button.dataset.label].meaningful ? percent(machine.probability) : "a guess"));
    button.title = machine?.reason || "";
  }
  show();
}

function parse({ verdict, label }) {
  if (verdict === "unsure") return Object.fromEntries(names.map((name) => [name, -1]));
  if (verdict !== "label") return {};
  const tokens = label.split("|");
  if (tokens.every((token) => /=-?[01]$/.test(token))) {
    return Object.fromEntries(tokens.map((token) => [token.slice(0, token.lastIndexOf("=")), Number(token.slice(token.lastIndexOf("=") + 1))]));
  }
  return Object.fromEntries(tokens.map((token) => [token, 1]));
}

async function show() {
  for (const button of document.querySelectorAll("#classes button")) {
    const value = values[button.dataset.label];
    button.setAttribute("aria-pressed", value === -1 ? "mixed" : String(value === 1));
  }
  const [verdict, label] = answer();
  $("suggestion").textContent = "Which of these are there?";
  $("accept").replaceChildren(make("kbd", {}, "Enter"), ` ${verdict === "unsure" ? "unsure of all" : label?.includes("=") ? label.replaceAll("|", ", ").replaceAll("=-1", " unsure").replaceAll("=1", "").replace(/, [^,]+=0|^[^,]+=0(, )?/g, "") : inWords(label)}`);
  $("accept").hidden = false;
  const now = JSON.stringify(values), broken = verdict === "unsure" ? "" : await check(label);
  if (now !== JSON.stringify(values)) return;
  $("broken").hidden = !broken;
  $("broken").textContent = broken;
  if (broken) say(broken);
}

export function toggle(name, unsure = false) {
  if ($("accept").disabled) { flash("That key was not taken: the image is still loading."); return; }
  values[name] = unsure ? (values[name] === -1 ? 0 : -1) : values[name] === 1 ? 0 : 1;
  say(`${name}: ${{ 1: "there", 0: "not there", "-1": "unsure" }[values[name]]}.`);
  show();
}

export function answer() {  // verdict and label, as the server keeps them
  const all = names.map((name) => values[name]);
  if (all.every((value) => value === -1)) return ["unsure", null];
  if (all.includes(-1)) return ["label", names.map((name) => `${name}=${values[name]}`).join("|")];
  const there = names.filter((name) => values[name] === 1);
  return there.length ? ["label", there.join("|")] : ["none", null];
}

export function key(event) {  // true where it was a finding's; with Shift it is one that cannot be told
  const typed = /^Digit[1-9]$/.test(event.code) ? event.code.slice(5) : event.key.toLowerCase();
  const name = typed.length === 1 ? names[KEYS.indexOf(typed)] : undefined;
  if (!name || KEYS.indexOf(typed) < 0) return false;
  if (!event.repeat) toggle(name, event.shiftKey);
  return true;
}
