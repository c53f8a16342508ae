// Shows every request and answer as it happens, newest first.
import { AuthError } from "/demo/authsvc.mjs";

const KEPT = 30;
const OPEN = 2;
const PATIENCE_MS = 10_000;
const TELLING = [
  "content-type", "content-language", "retry-after", "www-authenticate",
  "x-ratelimit-limit", "x-ratelimit-remaining", "x-request-id",
];

const list = document.querySelector("#exchanges");
let words;

/** Returns a `fetch` that shows what it does. */
export async function watchedFetch(url, init = {}) {
  const entry = begin(init.method ?? "GET", new URL(url, location.href), init);
  const began = performance.now();
  try {
    const answer = await fetch(url, init);
    finish(entry, answer, await bodyOf(answer.clone()), performance.now() - began);
    return answer;
  } catch (error) {
    finish(entry, null, String(error), performance.now() - began);
    throw error;
  }
}

/** Asks as `watchedFetch` does, and reads a good answer: `json` or `blob`. Throws AuthError. */
export async function ask(url, init = {}, form = "json") {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const answer = await watchedFetch(url, { ...init, signal }).catch(lose);
  const said = await answer[answer.ok ? form : "json"]().catch(answer.ok ? lose : () => null);
  if (answer.ok && !said?.error) return said; // the session document may fail with 200
  throw new AuthError(answer.status, said ?? {}, answer.headers.get("Retry-After"));
}

function lose(error) {
  throw new AuthError(0, { detail: String(error) });
}

/** Puts what is shown already into a language. */
export function translateWire(chosen) {
  words = chosen;
  for (const heading of list.querySelectorAll("h3")) heading.textContent = words[heading.dataset.t];
}

/** Forgets all that is shown. */
export function clearWire() {
  list.replaceChildren();
  tellSilence();
}

function begin(method, url, init) {
  const entry = make("li");
  const details = make("details", entry);
  details.open = true;
  const summary = make("summary", details);
  make("span", summary, "…").className = "status";
  make("b", summary, method);
  summary.append(` ${url.origin === location.origin ? url.pathname + url.search : url.href}`);
  const sides = make("div", details);
  sides.className = "sides";
  const headers = Object.entries(init.headers ?? {}).map(([name, value]) => [name, shortened(value)]);
  show(sides, "request", headers, pretty(init.body ?? "", hidePassword));
  list.prepend(entry);
  for (const older of [...list.children].slice(OPEN)) older.firstChild.open = false;
  while (list.children.length > KEPT) list.lastChild.remove();
  tellSilence();
  return entry;
}

function finish(entry, answer, body, milliseconds) {
  entry.querySelector(".status").textContent =
    `${answer?.status ?? words.noAnswer} · ${Math.round(milliseconds)} ms`;
  entry.classList.toggle("failed", !answer?.ok);
  const headers = TELLING.filter((name) => answer?.headers.has(name));
  show(
    entry.querySelector(".sides"),
    "answer",
    headers.map((name) => [name, answer.headers.get(name)]),
    pretty(body),
  );
}

function show(sides, kind, headers, body) {
  const side = make("div", sides);
  make("h3", side, words[kind]).dataset.t = kind;
  const lines = headers.map(([name, value]) => `${name}: ${value}`).join("\n");
  make("pre", side, [lines, body].filter(Boolean).join("\n\n"));
}

async function bodyOf(answer) {
  if (/json|text/.test(answer.headers.get("content-type") ?? "")) return answer.text();
  const { byteLength } = await answer.arrayBuffer();
  return byteLength ? words.bytes(byteLength) : "";
}

function pretty(text, replace) {
  try {
    return JSON.stringify(JSON.parse(text), replace, 2);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}

const hidePassword = (name, value) => (name === "password" ? "•".repeat(8) : value);

const shortened = (value) => (value.length > 48 ? `${value.slice(0, 32)}…` : value);

function tellSilence() {
  document.querySelector("#silence").hidden = list.children.length > 0;
}

function make(tag, parent, text = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  parent?.append(element);
  return element;
}
