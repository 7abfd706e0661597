// How several readers agree: numbers only, so that everybody stays blind to what the others said.

import { $, counted, make, percent, present } from "./dom.js";
import * as api from "./api.js";

const kappa = (value) => (value === null ? "–" : value.toFixed(2));
// Landis and Koch 1977
const strength = (value) => (value === null ? "" : value < 0 ? "poor" : ["slight", "fair", "moderate", "substantial", "almost perfect"][
  Math.min(Math.max(Math.ceil(value * 5) - 1, 0), 4)]);

export async function open(goDisputes) {
  const found = await api.get("agreement");
  const sheet = $("readersSheet");
  const figure = (value, words) => make("div", { className: "figure" }, make("b", {}, value), make("span", { className: "quiet" }, words));
  const row = (...cells) => make("tr", {}, ...cells.map((cell, i) => make(i ? "td" : "th", i ? { className: "number" } : { scope: "row" }, cell)));
  const head = (...names) => make("thead", {}, make("tr", {}, ...names.map((name, i) => make("th", { scope: "col", className: i ? "number" : "" }, name))));
  sheet.replaceChildren(...present(
    make("h2", { id: "readersTitle" }, found.readers.length > 1 ? "How the readers agree" : "Readers"),
    make("p", { className: "quiet" }, "Readers work blind: nobody is shown what another said, here neither. A consensus weighs each answer by how good its reader proves (cleanlab)."),
    make("div", { className: "figures" },
      figure(String(found.images), "images answered"), figure(String(found.shared), "by two readers or more"),
      figure(found.shared ? percent(found.agreed / found.shared) : "–", "of those, all agree"),
      figure(kappa(found.fleiss), `Fleiss' kappa${strength(found.fleiss) ? `, ${strength(found.fleiss)}` : ""}`)),
    found.readers.length ? make("table", {}, head("Reader", "Images", "Quality"), make("tbody", {}, ...found.readers.map((each) =>
      row(each.name, String(each.answered), each.quality === null ? "–" : percent(each.quality)))))
      : make("p", {}, "Nobody has answered yet."),
    found.pairs.length ? make("table", {}, head("Two readers", "Shared images", "Cohen's kappa", ""), make("tbody", {}, ...found.pairs.map((each) =>
      row(`${each.first} and ${each.second}`, String(each.shared), kappa(each.kappa), strength(each.kappa))))) : null,
    make("h3", {}, `${counted(found.disagreements, "image")} in dispute`),
    make("p", { className: "quiet" }, found.for_you
      ? `${counted(found.for_you, "image")} where others disagree, or were unsure, and you have not been asked.`
      : found.disagreements ? "Waiting for a reader who has not answered yet." : "Where readers disagree, or are unsure, the image waits here for a third."),
    make("div", { className: "actions" }, found.for_you
      ? make("button", { type: "button", className: "primary", onclick: goDisputes }, `Settle ${counted(found.for_you, "disagreement")}`) : null),
  ));
  sheet.focus({ preventScroll: true });
}
