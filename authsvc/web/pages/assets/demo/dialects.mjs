// How each document is spoken. `fault` names what went wrong, for the page to say in its language.

const byStatus = (status) =>
  ({ 0: "unreachable", 400: "input", 401: "credentials", 409: "taken", 429: "limited" })[status] ?? "unknown";

const NATIVE_FAULTS = {
  captcha_rejected: "captcha",
  invalid_captcha_answer: "captcha",
  invalid_token: "token",
  invalid_refresh_token: "token",
  totp_required: "code",
};

// By its sentences: an operator may have it answer every failure with HTTP 200.
const SESSION_FAULTS = {
  "Invalid request": "input",
  "Invalid captcha": "captcha",
  "Invalid username or password": "credentials",
  "Username already exists": "taken",
  "Too many requests": "limited",
};

export const DIALECTS = {
  native: {
    fields: { signUp: ["email", "captcha"], logIn: ["code"] },
    emailIsOptional: true,
    fault: (status, body) => NATIVE_FAULTS[body.code] ?? byStatus(status),
  },
  session: {
    fields: { signUp: ["email", "captcha"], logIn: [] },
    signUp: "/signup",
    logIn: "/login",
    captcha: "/captcha",
    token: (body) => body.session_token,
    fault: (status, body) => SESSION_FAULTS[body.error] ?? byStatus(status),
  },
  token: {
    fields: { signUp: ["email"], logIn: [] },
    signUp: "/register",
    logIn: "/login",
    token: (body) => body.token,
    fault: (status, body) => (body.error === "Invalid password" ? "password" : byStatus(status)),
  },
  admin: {
    fields: { signUp: ["email"], logIn: [] },
    signUp: "/register",
    logIn: "/login",
    token: (body) => body.token,
    fault: (status, body) => (body.message === "密码不符合要求" ? "password" : byStatus(status)),
  },
  envelope: {
    fields: { signUp: [], logIn: [] },
    capital: true,
    signUp: "/register",
    logIn: "/login",
    token: (body) => body.data?.token,
    fault: (status, body) => (body.errorCode === "INVALID_PASSWORD" ? "password" : byStatus(status)),
  },
};

/**
 * Returns what a token says of itself, or null where it cannot be read; the service alone knows
 * whether it is still good.
 */
export function claimsOf(token) {
  try {
    const part = String(token).split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (letter) => letter.codePointAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return claims.iat < claims.exp ? claims : null;
  } catch {
    return null;
  }
}
