// Talk to the server. Answers go one at a time and are only done when the server says that they are on its disk.

import { $, make } from "./dom.js";

export class Refused extends Error {
  constructor(status, { detail, changed, standing }) {
    super(detail || `The server answered ${status}.`);
    Object.assign(this, { status, changed: changed || [], standing: standing || [] });
  }
}

let reader = "";
export const setReader = (name) => { reader = name; };
export const whoReads = () => reader;

async function ask(path, options) {
  const response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Refused(response.status, said);
}

export async function get(path, query = {}) {
  const search = new URLSearchParams({ reader, ...query });
  return (await ask(`api/${path}?${search}`)).json();
}

export const bytes = async (path, query) => (await ask(`api/${path}?${new URLSearchParams(query)}`));

const post = async (path, body) => (await ask(`api/${path}`, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), keepalive: true,
})).json();

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
let last = Promise.resolve();
let waiting = 0;
let stuck = false;

// One after another, each until the server has it. Gives up only where the server itself refuses.
function send(path, body, what) {
  waiting += 1;
  const job = async () => {
    for (;;) {
      try {
        const answer = await post(path, body);
        stuck = false;
        trouble("");
        return answer;
      } catch (error) {
        stuck = !(error instanceof Refused) || error.status === 403;
        if (!stuck) { trouble(""); throw error; }
        trouble(error instanceof Refused
          ? `Not kept yet: ${what}. The server was started anew: open the address that it printed last, and answer this one again.`
          : `Not kept yet: ${what}. The server does not answer; this page goes on trying.`);
        await pause(1200);
      }
    }
  };
  const done = last.then(job, job);
  last = done.catch(() => {});
  return done.finally(() => { waiting -= 1; });
}

export const answer = (answers, what) => send("answers", { reader, batch: crypto.randomUUID?.() || newId(), answers }, what);
export const tell = (path, body = {}) => post(path, { reader, ...body });
export const undo = () => send("undo", { reader }, "the undo");
export const settled = () => last;
export const isStuck = () => stuck;
export const isWaiting = () => waiting > 0;
export const onTheWay = () => waiting;

// Where the page is not on this machine, browsers offer no randomUUID.
const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, "0")).join("");

export function trouble(text, dismissable = false) {
  const box = $("trouble");
  box.hidden = !text;
  box.replaceChildren(text ? make("span", {}, text) : "");
  if (text && dismissable) {
    box.append(make("button", { type: "button", onclick: () => trouble("") }, "Understood"));
  }
}

addEventListener("beforeunload", (event) => { if (waiting) event.preventDefault(); });
