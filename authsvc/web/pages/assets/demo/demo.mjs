// The demo: forms that speak the chosen document, and what the token of any of them opens.
import { AuthError, authClient } from "/demo/authsvc.mjs";
import { CaptchaField } from "/demo/captcha.mjs";
import { DIALECTS } from "/demo/dialects.mjs";
import { showInside } from "/demo/inside.mjs";
import { onPress } from "/demo/press.mjs";
import { ask, clearWire, translateWire, watchedFetch } from "/demo/wire.mjs";
import { firstLanguage, speak } from "/demo/words.mjs";

const $ = (id) => document.getElementById(id);
const form = $("form");
const service = await fetch("/demo/mounts.json").then(
  (answer) => (answer.ok ? answer.json() : null),
  () => null,
);
const spoken = (service?.mounts ?? []).filter((mount) => mount.dialect in DIALECTS);
const mounts = spoken.filter((mount) => mount.url).map(withBase);
const elsewhere = spoken.filter((mount) => !mount.url).map((mount) => mount.dialect);
const native = mounts.find((mount) => mount.dialect === "native");
const auth = authClient({ base: native?.base, ask: watchedFetch, changed: showState });

const first = firstLanguage();
let words = speak(first);
translateWire(words);
let mount = native ?? mounts[0];
const page = { auth, native, words: () => words, say, complain, attempt };
const captcha = new CaptchaField(page);
const inside = showInside(page);

function withBase({ dialect, url }) {
  return { dialect, base: new URL(url, location.origin).href.replace(/\/$/, ""), speaks: DIALECTS[dialect] };
}

// --- What the page says ---

function say(text = "") {
  $("error").textContent = "";
  $("note").textContent = text;
}

function complain(text, field) {
  $("note").textContent = "";
  $("error").textContent = "";
  $("error").textContent = text;
  for (const input of form.elements) input.removeAttribute("aria-invalid");
  field?.setAttribute("aria-invalid", "true");
  field?.focus();
}

/** Does something that may fail, and says so; returns whether it did not. */
async function attempt(work, speaks = DIALECTS.native) {
  say();
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof AuthError)) throw error;
    await explain(error, speaks.fault(error.status, error.body));
    return false;
  }
}

async function explain(error, fault) {
  const fields = { captcha: form.value, taken: form.username, credentials: form.password, password: form.password };
  if (fault === "code") form.querySelector("[data-for=code]").hidden = false;
  const known = { ...fields, code: form.code }[fault];
  const wait = fault === "limited" && error.retryAfter;
  const detail = mount.speaks === DIALECTS.native && fault === "input" && error.message;
  complain(wait ? words.faults.wait(error.retryAfter) : detail || words.faults[fault], known);
}

// --- Signing up and logging in ---

const way = () => document.querySelector("[name=way]:checked").value;

function showForm() {
  if (!mount) return service ? say(words.unspoken) : complain(words.faults.unreachable);
  const asked = mount.speaks.fields[way()];
  for (const part of form.querySelectorAll("[data-for]")) {
    const name = part.dataset.for;
    part.hidden = !asked.includes(name) || name === "code" || (name === "captcha" && !service.signUpCaptcha);
  }
  const signsUp = way() === "signUp";
  $("optional").hidden = !mount.speaks.emailIsOptional;
  form.email.required = !mount.speaks.emailIsOptional;
  form.password.autocomplete = signsUp ? "new-password" : "current-password";
  $("rule").textContent = !signsUp
    ? ""
    : (mount.speaks.capital ? words.ruleWithCapital : words.rule)(service.passwordMinLength);
  $("go").dataset.t = way();
  $("go").textContent = words[way()];
  $("base").textContent = mount.base;
  if (!$("captcha").hidden && !$("door").hidden) captcha.openAt(mount);
  else captcha.close();
}

const isShown = (input) => !input.closest("[hidden]");

function typed() {
  const body = { username: form.username.value, password: form.password.value };
  if (isShown(form.email) && form.email.value) body.email = form.email.value;
  if (isShown(form.value)) Object.assign(body, { captchaId: captcha.id, value: form.value.value });
  if (isShown(form.code) && form.code.value) body.code = form.code.value;
  return body;
}

async function send(body) {
  const { speaks, base } = mount;
  if (!speaks.token) return auth[way()](body);
  const said = await ask(base + speaks[way()], {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  await takeToken(speaks.token(said));
}

async function takeToken(accessToken) {
  if (accessToken) {
    const { iat, exp } = inside.claims(accessToken);
    return auth.keep({ accessToken, expiresIn: exp - iat });
  }
  document.querySelector("[name=way][value=logIn]").checked = true;
  showForm();
  say(words.signedUp);
  form.password.focus();
}

async function submit() {
  const speaks = mount.speaks;
  const empty = [...form.elements].find((input) => input.required && isShown(input) && !input.value);
  if (empty) return complain(words.faults.empty, empty);
  let refused;
  const done = await attempt(async () => {
    try {
      await send(typed());
    } catch (error) {
      refused = error;
      throw error;
    }
  }, speaks);
  if (done) {
    form.querySelectorAll("[aria-invalid]").forEach((input) => input.removeAttribute("aria-invalid"));
    if (auth.tokens()) form.reset();
  } else if (isShown(form.value) && captcha.isSpentBy(speaks.fault(refused.status, refused.body))) {
    await captcha.renew();
  }
}

onPress($("go"), submit, { source: form, event: "submit" });

// --- Switches ---

function showState() {
  const isInside = inside.show(auth.tokens());
  const changes = $("door").hidden !== isInside;
  $("door").hidden = isInside || !mount;
  $("inside").hidden = !isInside;
  if (changes) showForm();
  if (changes && isInside && document.activeElement === document.body) $("inside-title").focus();
}

function showLanguage(language) {
  words = speak(language);
  translateWire(words);
  say();
  tellElsewhere();
  showForm();
  inside.translate();
}

function tellElsewhere() {
  $("elsewhere").hidden = elsewhere.length === 0;
  $("elsewhere").textContent = words.elsewhere(elsewhere.join(", "));
}

function offerDialects() {
  for (const each of mounts) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "dialect", checked: each === mount });
    const name = Object.assign(document.createElement("span"), { textContent: each.dialect });
    input.addEventListener("change", () => {
      mount = each;
      say();
      showForm();
    });
    label.append(input, name);
    $("dialects").append(label);
  }
}

for (const input of document.querySelectorAll("[name=language]")) {
  input.checked = input.value === first;
  input.addEventListener("change", () => showLanguage(input.value));
}
for (const input of document.querySelectorAll("[name=way]")) {
  input.addEventListener("change", () => {
    say();
    showForm();
  });
}
$("clear").addEventListener("click", clearWire);
addEventListener("pageshow", (event) => event.persisted && showState()); // out of the browser's memory
offerDialects();
$("reference").hidden = !service?.docs;
tellElsewhere();
showState();
showForm();
document.body.dataset.ready = "yes";
