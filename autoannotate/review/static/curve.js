// The labels estimated to be wrong, by the number of answers: large with its numbers, small beside the picture.

import { $, make } from "./dom.js";

export const rate = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
const SVG = "http://www.w3.org/2000/svg";
const HONEST = "Estimated by the program, not counted: a certificate counts.";

function draw(tag, values, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

// points: answered and error_rate by round, oldest first; nothing is drawn of fewer than two
export function curve(points, small = false) {
  if (points.length < 2) return null;
  const [w, h, side, above, below] = small ? [260, 40, 6, 6, 6] : [640, 150, 34, 26, 26];
  const most = Math.max(...points.map((one) => one.answered), 1), worst = Math.max(...points.map((one) => one.error_rate), 0.01);
  const at = (one) => [side + (one.answered / most) * (w - 2 * side), h - below - (one.error_rate / worst) * (h - above - below)];
  const words = points.map((one) => `${one.answered} answers: ${rate(one.error_rate)}`).join(", ");
  const picture = draw("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": `Labels estimated wrong: ${words}` });
  picture.append(draw("polyline", { points: points.map((one) => at(one).join()).join(" ") }));
  for (const one of points) {
    const [x, y] = at(one);
    picture.append(draw("circle", { cx: x, cy: y, r: small ? 2.5 : 4 }));
    if (!small) picture.append(draw("text", { x, y: y - 9, "text-anchor": "middle" }, rate(one.error_rate)), draw("text", { x, y: h - 4, "text-anchor": "middle" }, String(one.answered)));
  }
  const [first, last] = [points[0], points[points.length - 1]];
  const caption = small ? `Estimated wrong: ${rate(first.error_rate)} → ${rate(last.error_rate)}, with ${last.answered.toLocaleString("en")} answers`
    : `Labels estimated to be wrong, by the number of labels that readers gave. ${HONEST}`;
  return make("figure", { className: small ? "curve small" : "curve", title: small ? HONEST : "" }, picture, make("figcaption", { className: "quiet" }, caption));
}

export function besidePicture(session) {
  $("curve").replaceChildren(curve(session.estimates, true) || "");
}
