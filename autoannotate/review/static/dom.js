// Small helpers for the page: elements by id, new elements, words.

export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...present(...children));
  return element;
}

export const present = (...children) => children.filter((child) => child !== null && child !== undefined);

export const counted = (n, word, many = `${word}s`) => `${n.toLocaleString("en")} ${n === 1 ? word : many}`;
export const percent = (share) => `${Math.round(100 * share)}%`;

let clear;
export function say(text) {  // to screen readers; cleared first, so that the same words are said twice
  $("live").textContent = "";
  clearTimeout(clear);
  clear = setTimeout(() => { $("live").textContent = text; }, 30);
}

export function news(text, seconds = 0) {  // what has changed, above the picture; "" takes it away
  const box = $("news");
  box.hidden = !text;
  box.firstElementChild.textContent = text;
  clearTimeout(news.over);
  if (text) say(text);
  if (text && seconds) news.over = setTimeout(() => { box.hidden = true; }, 1000 * seconds);
}
$("news").lastElementChild.addEventListener("click", () => news(""));

export const VERDICTS = { unsure: "unsure", none: "none of these classes", discard: "not usable" };
export const inWords = (answer) => (answer.verdict === "label" ? answer.label : VERDICTS[answer.verdict]);

export function flash(text) {  // a key that was not taken, and why: seen, not only heard
  const box = $("flash");
  box.textContent = text;
  box.hidden = false;
  say(text);
  clearTimeout(flash.over);
  flash.over = setTimeout(() => { box.hidden = true; }, 2500);
}
