// What a reader marked in a grid and has not kept yet, by path: a class, or "" for wrong. Survives other orders and views.

const marks = new Map();
let place = "marks";

const keep = () => { try { sessionStorage.setItem(place, JSON.stringify([...marks])); } catch { /* private window */ } };

export function openMarks(run, reader) {
  place = `marks of ${reader} in ${run}`;
  marks.clear();
  try { for (const [path, label] of JSON.parse(sessionStorage.getItem(place) || "[]")) marks.set(path, label); } catch { /* none */ }
}

export const has = (path) => marks.has(path);
export const get = (path) => marks.get(path);

export function put(path, label) {  // null takes the mark away
  if (label === null) marks.delete(path); else marks.set(path, label);
  keep();
}

// Where there are two classes, wrong means the other one.
export const wrong = (label, classes) => (classes.length === 2 && classes.includes(label) ? classes.find((name) => name !== label) : "");

// Whether the reader marked the image as not being of this class.
export const denies = (path, label) => marks.has(path) && marks.get(path) !== label;
