// How several readers agree, and how many readers an image has: numbers only, so that everybody stays blind.

import { $, counted, make, percent, present } from "./dom.js";
import * as api from "./api.js";

// Landis and Koch 1977
const strength = (value) => (value < 0 ? "poor" : ["slight", "fair", "moderate", "substantial", "almost perfect"][
  Math.min(Math.max(Math.ceil(value * 5) - 1, 0), 4)]);
const PLANS = { "": "each reader is asked about the whole queue", single: "one reader an image", double: "two readers for every image" };
export const planInWords = (plan) => (plan?.startsWith("double:") ? `two readers for ${percent(Number(plan.slice(7)))} of the images, chosen at random` : PLANS[plan || ""]);

const row = (...cells) => make("tr", {}, ...cells.map((cell, i) => make(i ? "td" : "th", i ? { className: "number" } : { scope: "row" }, cell)));
const head = (...names) => make("thead", {}, make("tr", {}, ...names.map((name, i) => make("th", { scope: "col", className: i ? "number" : "" }, name))));
const table = (caption, names, rows) => make("table", {}, make("caption", {}, caption), head(...names), make("tbody", {}, ...rows));

export async function open(goDisputes) {
  const [found, session] = await Promise.all([api.get("agreement"), api.get("session")]);
  const { fewest } = found;
  const few = (n) => (n ? `too few (${n})` : "–");
  const number = (one, n, write = (value) => value.toFixed(2)) => (one === null ? few(n)
    : `${write(one.value)} (${write(one.low)} to ${write(one.high)})`);
  const figure = (value, words) => make("div", { className: "figure" }, make("b", {}, value), make("span", { className: "quiet" }, words));
  $("readersSheet").replaceChildren(...present(
    make("h2", { id: "readersTitle" }, found.readers.length > 1 ? "How the readers agree" : "Readers"),
    make("p", { className: "quiet" }, `Readers work blind: nobody is shown what another said, here neither. In brackets: 95% intervals, by bootstrap over images. Below ${fewest} shared images a number would say little, and none is given.`),
    make("div", { className: "figures" },
      figure(String(found.images), "images answered"), figure(String(found.shared), "by two readers or more"),
      figure(found.all_agree ? percent(found.all_agree.value) : few(found.shared), found.all_agree ? `of those, all agree (${percent(found.all_agree.low)} to ${percent(found.all_agree.high)})` : "of those, all agree"),
      figure(found.fleiss ? found.fleiss.value.toFixed(2) : few(found.shared), `Fleiss' kappa${found.fleiss ? ` (${found.fleiss.low.toFixed(2)} to ${found.fleiss.high.toFixed(2)}), ${strength(found.fleiss.value)}` : ""}`)),
    found.readers.length ? table("Each reader against the others", ["Reader", "Images", "Compared", "Says what most others say", "Kappa"], found.readers.map(({ name, answered, quality }) =>
      row(name, String(answered), String(quality.n), number(quality.agree, quality.n, percent), number(quality.kappa, quality.n))))
      : make("p", {}, "Nobody has answered yet."),
    found.readers.length > 1 ? make("p", { className: "quiet" }, "Compared are images that the reader looked at one by one and that others answered too; a whole grid confirmed at once is no evidence of a good reader and does not count. Kappa takes out what chance alone would explain.") : null,
    found.pairs.length ? table("Two readers", ["Readers", "Shared images", "Same answer", "Cohen's kappa"], found.pairs.map((each) =>
      row(`${each.first} and ${each.second}`, String(each.shared), number(each.agree, each.n, percent), number(each.kappa, each.n)))) : null,
    found.classes.length ? table("By class: where one reader says it, how often another does too", ["Answer", "Images", "Another says so too"], found.classes.map((each) =>
      row(each.name, String(each.images), number(each.agree, each.images, percent)))) : null,
    make("h3", {}, `${counted(found.disagreements, "image")} in dispute`),
    make("p", { className: "quiet" }, found.for_you
      ? `${counted(found.for_you, "image")} where others disagree, or were unsure, and you have not been asked.`
      : found.disagreements ? "Waiting for a reader who has not answered yet." : "Where readers disagree, or are unsure, the image waits here for a third."),
    make("div", { className: "actions" }, found.for_you
      ? make("button", { type: "button", className: "primary", onclick: goDisputes }, `Settle ${counted(found.for_you, "disagreement")}`) : ""),
    ...plan(session),
  ));
  $("readersSheet").focus({ preventScroll: true });
}

function plan(session) {
  const choice = make("select", {}, ...[["single", PLANS.single], ["double", PLANS.double], ["double:0.2", planInWords("double:0.2")], ["double:0.1", planInWords("double:0.1")]]
    .map(([value, words]) => make("option", { value }, words)));
  const trouble = make("p", { className: "bad" });
  const now = make("p", {}, `Now: ${planInWords(session.plan)}.`);
  const set = async () => {
    try {
      const kept = await api.tell("plan", { plan: choice.value });
      now.textContent = `Now: ${planInWords(kept.plan)}.`;
      trouble.textContent = "";
    } catch (error) { trouble.textContent = error.message; }
  };
  return [make("h3", {}, "Reading plan"), now,
    make("p", { className: "quiet" }, "Second readings are blind and come first in a reader's queue; a third reader settles disagreements. The plan stays over updates, and once there are answers it can only ask for more."),
    make("div", { className: "actions" }, make("label", {}, "From now on: ", choice), make("button", { type: "button", onclick: set }, "Read by this plan")), trouble];
}
