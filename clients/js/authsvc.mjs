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
    this.detail = this.message;
    this.retryAfter = wait ? +wait : undefined;
  }
}

/** `changed` is called when any tab has changed the tokens. Words are in the page's language. */
export function authClient({
  base = "/v1", key = "authsvc", ask = fetch, changed = () => {},
} = {}) {
  const language = () => (document.documentElement.lang.startsWith("zh") ? "zh" : "en");
  addEventListener("storage", (event) => event.key === key && changed());

  /** @returns {Grant & { renewAt: number } | null} */
  const tokens = () => JSON.parse(localStorage[key] ?? null);

  /** @param {Grant | null} got */
  function put(got) {
    const renewAt = Date.now() + (got?.expiresIn ?? 0) * 950;
    if (got) localStorage[key] = JSON.stringify({ ...got, renewAt });
    else delete localStorage[key];
    changed();
  }

  /** One tab at a time, where it can be. @param {(waited?: boolean) => Promise<void>} work */
  async function alone(work) {
    const { locks } = navigator;
    if (!locks) return work();
    return locks.request(key, { ifAvailable: true }, (free) =>
      free ? work() : locks.request(key, () => work(true)));
  }

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
    }).catch((cause) => {
      throw new AuthError(0, { code: "unreachable", detail: `${cause}` });
    });
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) return said;
    throw new AuthError(answer.status, said, answer.headers.get("Retry-After"));
  }

  /** Keeps tokens, of any document. @param {Grant | null} got */
  const keep = (got) => alone(async () => put(got));

  /** Renews the tokens, unless another tab did. */
  const refresh = (used = tokens()?.accessToken) =>
    alone(async (waited) => {
      // locks overtake what is written
      if (waited && tokens()?.accessToken === used) await news();
      const kept = tokens();
      if (!kept || kept.accessToken !== used) return;
      const body = { refreshToken: kept.refreshToken };
      put(await send("POST", "/token/refresh", body).catch(unless401));
    });

  /**
   * Asks with the token, renewed just before its end, and once after a 401.
   * @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>}
   */
  async function request(method, path, body) {
    const kept = tokens();
    if (kept?.refreshToken && kept.renewAt < Date.now()) await refresh();
    const used = tokens()?.accessToken;
    try {
      return await send(method, path, body, used);
    } catch (error) {
      unless401(error);
      await refresh(used);
      const token = tokens()?.accessToken;
      if (!token) throw error;
      return send(method, path, body, token);
    }
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

    /** @returns {Promise<User>} */
    me: () => request("GET", "/me"),

    /** @returns {Promise<{ id: string }[]>} */
    sessions: async () => (await request("GET", "/me/sessions")).sessions,

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

/** @param {any} error */
function unless401(error) {
  if (error.status !== 401) throw error;
  return null;
}
