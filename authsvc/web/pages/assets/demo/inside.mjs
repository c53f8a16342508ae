// What is shown to whoever is logged in: the token, its time left, who they are, their sessions.
import { claimsOf } from "/demo/dialects.mjs";
import { onPress } from "/demo/press.mjs";

const $ = (id) => document.getElementById(id);
const TIMES = ["iat", "exp", "nbf"];

export function showInside(page) {
  let shown = null;
  let ends = 0;

  /** Shows whose token it is; returns whether there is one that can be read. */
  function show(tokens) {
    const claims = tokens && claimsOf(tokens.accessToken);
    const samePerson = shown?.sub === claims?.sub;
    shown = claims;
    if (!samePerson) $("result").replaceChildren();
    for (const button of document.querySelectorAll("[data-native]")) button.hidden = !page.native;
    if (!claims) return false;
    // By this clock, which may be wrong: `renewAt` is at 95 % of the token's time.
    const { renewAt, expiresIn } = tokens;
    ends = Number(renewAt) + expiresIn * 50 || claims.exp * 1000;
    draw();
    return true;
  }

  function translate() {
    if (!shown) return;
    $("result").replaceChildren();
    draw();
  }

  function draw() {
    $("inside-title").textContent = page.words().hello(shown.username);
    const rows = Object.entries(shown).flatMap(([name, value]) => [
      make("dt", name),
      make("dd", TIMES.includes(name) ? new Date(value * 1000).toLocaleString(language()) : String(value)),
    ]);
    $("claims").replaceChildren(...rows);
    tick();
  }

  function tick() {
    if (!shown) return;
    const left = Math.max(0, Math.round((ends - Date.now()) / 1000));
    const [minutes, seconds] = [Math.floor(left / 60), left % 60].map((n) => String(n).padStart(2, "0"));
    $("left").textContent = left ? `${minutes}:${seconds}` : page.words().over;
    $("bar").value = left / (shown.exp - shown.iat);
  }

  async function tellWho() {
    const user = await page.auth.request("GET", "/me");
    const known = ["id", "username", "email", "permission", "createdAt"];
    const list = make("dl");
    list.append(...known.flatMap((name) => [make("dt", name), make("dd", String(user[name] ?? "–"))]));
    tell(list);
  }

  async function listSessions() {
    const list = make("ul");
    const { sessions } = await page.auth.request("GET", "/me/sessions");
    for (const session of sessions) list.append(sessionItem(session));
    tell(list);
  }

  function sessionItem({ id, createdAt, userAgent, current }) {
    const item = make("li");
    const [browser] = userAgent.match(/(Firefox|Edg|Chrome|Safari)\/\d+/) ?? [userAgent || "–"];
    const began = new Date(createdAt).toLocaleString(language());
    item.append(make("p", `${browser} · ${began}${current ? ` · ${page.words().thisOne}` : ""}`));
    const end = make("button", page.words().end);
    end.type = "button";
    end.ariaLabel = page.words().endOf(`${browser}, ${began}`);
    onPress(end, () =>
      page.attempt(async () => {
        await page.auth.request("DELETE", `/me/sessions/${id}`);
        if (current) await page.auth.keep(null);
        else await listSessions();
        page.say(page.words().ended);
      }),
    );
    item.append(end);
    return item;
  }

  function tell(content) {
    $("result").replaceChildren(content);
    $("result").focus();
  }

  async function renew() {
    if (!page.auth.tokens()?.refreshToken) return page.say(page.words().notRenewable);
    await page.auth.refresh();
    if (page.auth.tokens()) page.say(page.words().renewed);
    else page.complain(page.words().faults.token);
  }

  async function leave() {
    await (page.native ? page.auth.logOut() : page.auth.keep(null));
    page.say(page.native ? page.words().loggedOut : page.words().forgotten);
    $("username").focus();
  }

  const actions = { who: tellWho, list: listSessions, refresh: renew, out: leave };
  for (const [id, work] of Object.entries(actions)) {
    onPress($(id), () => page.attempt(work));
  }
  setInterval(tick, 1000);
  return { show, translate, claims: claimsOf };
}

const language = () => document.documentElement.lang;

function make(tag, text = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}
