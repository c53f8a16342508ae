"""Frontends: each speaks one dialect to a running service, from an address of its own."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.client import Answer, Client
from tests.support.service import Service

PASSWORD = "Password1"
SOLUTION = "accepted by every captcha"

FAST = {
    "AUTHSVC_ARGON2_MEMORY_KIB": "8",
    "AUTHSVC_ARGON2_TIME_COST": "1",
    "AUTHSVC_CAPTCHA_TEST_VALUE": SOLUTION,
    "AUTHSVC_GUESS_LIMIT": "off",
}
"""Settings of a service under test: cheap hashes, captchas that can be solved, free guesses."""

Words = tuple[int, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Dialect:
    """How a document is spoken, and what it says in the situations of these tests.

    Args:
        name: the word for it.
        port: which of the service's two ports answers it: 0 or 1.
        sign_up, log_in: its paths.
        created: the status of a sign-up.
        words: situation → status and body.
    """

    name: str
    port: int
    sign_up: str
    log_in: str
    created: int
    words: Mapping[str, Words]


def _envelope(status: int, message: str, code: str) -> Words:
    return status, {"success": False, "message": message, "statusCode": status, "errorCode": code}


SESSION = Dialect(
    "session",
    0,
    "/signup",
    "/login",
    200,
    {
        "taken": (409, {"error": "Username already exists"}),
        "wrong": (401, {"error": "Invalid username or password"}),
        "limited": (429, {"error": "Too many requests"}),
        "log-in failed": (500, {"error": "Failed to create session"}),
        "sign-up failed": (500, {"error": "Failed to create user"}),
        "sign-up opened no session": (500, {"error": "Failed to create session"}),
    },
)
TOKEN = Dialect(
    "token",
    0,
    "/api/register",
    "/api/login",
    201,
    {
        "taken": (409, {"error": "User already exists"}),
        "wrong": (401, {"error": "Invalid credentials"}),
        "limited": (429, {"error": "Too many requests"}),
        "log-in failed": (500, {"error": "Internal server error"}),
        "sign-up failed": (500, {"error": "Internal server error"}),
        "sign-up opened no session": (500, {"error": "Internal server error"}),
    },
)
ADMIN = Dialect(
    "admin",
    1,
    "/api/auth/register",
    "/api/auth/login",
    201,
    {
        "taken": (409, {"message": "用户名已存在"}),
        "wrong": (401, {"message": "用户名或密码错误"}),
        "limited": (429, {"message": "请求过于频繁，请稍后再试"}),
        "log-in failed": (500, {"message": "服务器错误"}),
        "sign-up failed": (500, {"message": "服务器错误"}),
        "sign-up opened no session": (500, {"message": "服务器错误"}),
    },
)
ENVELOPE = Dialect(
    "envelope",
    1,
    "/api/register",
    "/api/login",
    200,
    {
        "taken": _envelope(409, "用户名已存在", "USERNAME_ALREADY_EXISTS"),
        "wrong": _envelope(401, "用户名或密码不正确", "INVALID_CREDENTIALS"),
        "limited": _envelope(429, "请求过于频繁，请稍后再试", "TOO_MANY_REQUESTS"),
        "log-in failed": _envelope(500, "服务器内部错误，登录失败", "SERVER_ERROR"),
        "sign-up failed": _envelope(500, "服务器内部错误，请稍后再试", "SERVER_ERROR"),
        # It opens none, so it needs none.
        "sign-up opened no session": (
            200,
            {"success": True, "message": "注册成功", "statusCode": 200},
        ),
    },
)
DIALECTS = (SESSION, TOKEN, ADMIN, ENVELOPE)

_numbers = itertools.count(1)


def fresh(stem: str = "user") -> str:
    """Return a name that nobody has yet."""
    return f"{stem}{next(_numbers)}"


def new_address() -> str:
    """Return a loopback address from which nothing was counted yet."""
    number = next(_numbers)
    return f"127.9.{number // 250}.{number % 250 + 1}"


class Frontend:
    """Speaks one dialect.

    Args:
        bases: the base URLs of the two ports, of the service or of what stands before it.
        dialect: what it speaks.
        source: the address that it comes from.
        headers: sent with every request.
    """

    def __init__(
        self,
        bases: tuple[str, str],
        dialect: Dialect,
        source: str = "127.0.0.2",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.dialect = dialect
        self.client = Client(bases[dialect.port], source=source, headers=headers)

    def captcha_id(self) -> str:
        """Return the id of a new captcha."""
        answer = self.client.get("/captcha")
        assert answer.status == 200, answer.text
        captcha_id: str = answer.json()["captchaId"]
        return captcha_id

    def sign_up(
        self,
        name: str,
        email: str | None = None,
        *,
        password: str = PASSWORD,
        captcha_id: str | None = None,
    ) -> Answer:
        """Sign up; with a captcha of its own where the dialect asks for one and none is given."""
        body = {"username": name, "password": password}
        if self.dialect is not ENVELOPE:
            body["email"] = email or f"{fresh('mail')}@example.com"
        if self.dialect is SESSION:
            body |= {"captchaId": captcha_id or self.captcha_id(), "value": SOLUTION}
        return self.client.post(self.dialect.sign_up, body)

    def log_in(self, name: str, password: str = PASSWORD) -> Answer:
        """Log in."""
        return self.client.post(self.dialect.log_in, {"username": name, "password": password})


def bases_of(service: Service) -> tuple[str, str]:
    """Return the base URLs of a service's two ports."""
    return service.first, service.second


def token_in(answer: Answer) -> str:
    """Return the access token of a successful answer, wherever its dialect puts it."""
    body = answer.json()
    token: str = body.get("session_token") or body.get("token") or body["data"]["token"]
    return token


def said(answer: Answer) -> Words:
    """Return what an answer says: its status and its body."""
    return answer.status, answer.json()
