// The same image was answered in another tab meanwhile: both answers are shown, and the reader chooses.

import { $, counted, inWords, make } from "./dom.js";

const SHOWN = 12;

// standing: what the server has, given: what was meant. Resolves to "replace" or "keep".
export function choose(standing, given) {
  const meant = new Map(given.map((answer) => [answer.path, answer]));
  const rows = standing.slice(0, SHOWN).map((old) => make("tr", {},
    make("td", {}, make("code", {}, old.path)), make("td", {}, inWords(old)), make("td", {}, inWords(meant.get(old.path)))));
  const rest = standing.length - rows.length;
  $("conflictBody").replaceChildren(
    make("p", {}, `${counted(standing.length, "image")} ${standing.length === 1 ? "has" : "have"} an answer of yours from another tab or window. Which one counts?`),
    make("table", {}, make("thead", {}, make("tr", {}, ...["Image", "There", "Here"].map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows)),
    rest ? make("p", { className: "quiet" }, `and ${rest} more`) : "",
  );
  const box = $("conflict");
  box.returnValue = "";
  box.showModal();
  return new Promise((done) => {
    box.addEventListener("close", () => done(box.returnValue === "replace" ? "replace" : "keep"), { once: true });
  });
}
