// @ts-check
/**
 * A client of authsvc's native document. Tabs share the tokens, in localStorage.
 * @typedef {{ accessToken: string, refreshToken?: string, expiresIn: number }} Grant
 * @typedef {{ id: number, username: string, email: string | null }} User
 */

/** `status` is 0 where no answer came; `retryAfter` is in seconds. */
export class AuthError extends Error {
  /** @param {number} status @param {any} body @param {string | null} [wait] */
  constructor(status, body, wait) {
    super(body.detail);
    this.status = status;
    this.body = body;
    this.code = body.code;
    this.retryAfter = wait ? +wait : undefined;
  }
}

/** `changed` is called when any tab has changed the tokens. Words are in the page's language. */
export function authClient({
  base = "/v1", key = "authsvc", ask = fetch, changed = () => {},
} = {}) {
  const language = () => (document.documentElement.lang.startsWith("zh") ? "zh" : "en");
  addEventListener("storage", (event) => (event.key ?? key) === key && changed());

  /** Where storage is blocked or full. @type {string | undefined} */
  let held;

  /** @returns {Grant & { renewAt: number } | null} */
  function tokens() {
    try {
      const kept = JSON.parse(held ?? localStorage[key]);
      return kept.accessToken ? kept : null;
    } catch {
      return null;
    }
  }

  /** @param {Grant | null} got */
  function put(got) {
    held = JSON.stringify(got && { ...got, renewAt: Date.now() + got.expiresIn * 950 });
    try {
      localStorage[key] = held;
      held = undefined;
    } catch {}
    changed();
  }

  /** One tab at a time, if possible. @param {(waited?: boolean) => Promise<void>} work */
  const alone = async (work) =>
    navigator.locks?.request(key, { ifAvailable: true }, (free) =>
      free ? work() : navigator.locks.request(key, () => work(true))) ?? work();

  /** @param {string} method @param {string} path @param {object} [body] @param {string} [token] */
  async function send(method, path, body, token) {
    const answer = await ask(base + path, {
      method,
      headers: {
        "Accept-Language": language(),
        ...(body && { "Content-Type": "application/json" }),
        ...(token && { Authorization: `Bearer ${token}` }),
      },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(1e4),
    }).catch(lost);
    if (answer.status === 204) return;
    const said = await answer.json().catch(answer.ok ? lost : () => {});
    if (answer.ok) return said;
    throw new AuthError(answer.status, said ?? {}, answer.headers.get("Retry-After"));
  }

  /** Keeps tokens, of any document. @param {Grant | null} got */
  const keep = (got) => alone(async () => put(got));

  /** Renews the tokens, unless another tab did; a 401 alone takes them away. */
  const refresh = (used = tokens()?.accessToken) =>
    alone(async (waited) => {
      const same = () => tokens()?.accessToken === used;
      if (waited && same()) await news(); // locks overtake what is written
      const { refreshToken } = tokens() ?? {};
      if (!refreshToken || !same()) return;
      const got = await send("POST", "/token/refresh", { refreshToken }).catch(unless401);
      if (same()) put(got);
    });

  /** With the token, renewed before its end or after a 401. @type {typeof send} */
  async function request(method, path, body) {
    // if it fails, they may be good yet
    if (Number(tokens()?.renewAt) < Date.now()) await refresh().catch(() => {});
    const used = tokens()?.accessToken;
    return send(method, path, body, used).catch(async (error) => {
      unless401(error);
      await refresh(used);
      const token = tokens()?.accessToken;
      if (token && token !== used) return send(method, path, body, token);
      put(null);
      throw error;
    });
  }

  /** @param {string} path @returns {(body: object) => Promise<User>} */
  const enter = (path) => async (body) => {
    const { user, ...got } = await send("POST", path, body);
    await keep(got);
    return user;
  };

  return {
    tokens, keep, refresh, request,
    signUp: enter("/signup"), // username, password, email, captchaId, value
    logIn: enter("/login"), // username, password, code
    async logOut(scope = "local") { // or others, or global
      await request("POST", "/logout", { scope }).catch(unless401);
      if (scope !== "others") await keep(null);
    },
    async captcha() {
      const { captchaId } = await send("GET", "/captcha");
      const image = `${base}/captcha/${captchaId}`;
      return { captchaId, image, audio: `${image}/audio?lang=${language()}` };
    },
  };
}

const news = () =>
  new Promise((done) => {
    addEventListener("storage", done, { once: true });
    setTimeout(done, 1e3);
  });

/** @param {unknown} cause */
const lost = (cause) => {
  throw new AuthError(0, { code: "unreachable", detail: `${cause}` });
};

/** @param {any} error */
function unless401(error) {
  if (error.status !== 401) throw error;
  return null;
}
