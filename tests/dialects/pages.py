"""The documents as data: each operation's place and valid body, and the shape of each failure."""

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

from tests.support.client import Answer, Client
from tests.support.service import Service

PASSWORD = "Secret-pass-1"

_numbers = itertools.count(1)
_CJK = re.compile("[\u3000-\u9fff\uff00-\uffef]")
_LATIN = re.compile("[A-Za-z]")


def fresh_name(stem: str = "user") -> str:
    """Returns a user name that nobody has."""
    return f"{stem}{next(_numbers)}"


@dataclass(frozen=True)
class Operation:
    """One operation of a document.

    Args:
        dialect: the page that speaks it.
        name: in our words.
        port: 8080 or 3000, as a document would print it.
        path: the path.
        success: the status of a success.
        fields: the fields that its body must have.
        optional: those that it may have.
    """

    dialect: str
    name: str
    port: int
    path: str
    success: int
    fields: tuple[str, ...]
    optional: tuple[str, ...] = field(default=())

    @property
    def is_log_in(self) -> bool:
        """Whether it opens a session for a user who is there already."""
        return self.name == "login"

    def __str__(self) -> str:
        return f"{self.dialect}-{self.name}"


CREDENTIALS = ("username", "password")

SESSION_LOGIN = Operation("session", "login", 8080, "/login", 200, CREDENTIALS)
SESSION_SIGNUP = Operation(
    "session", "signup", 8080, "/signup", 200, (*CREDENTIALS, "email", "captchaId", "value")
)
TOKEN_REGISTER = Operation("token", "register", 8080, "/api/register", 201, (*CREDENTIALS, "email"))
TOKEN_LOGIN = Operation("token", "login", 8080, "/api/login", 200, CREDENTIALS)
ADMIN_LOGIN = Operation("admin", "login", 3000, "/api/auth/login", 200, CREDENTIALS)
ADMIN_REGISTER = Operation(
    "admin", "register", 3000, "/api/auth/register", 201, (*CREDENTIALS, "email")
)
ADMIN_CREATE_USER = Operation(
    "admin",
    "createUser",
    3000,
    "/api/auth/createUser",
    201,
    (*CREDENTIALS, "email"),
    ("permission",),
)
ENVELOPE_REGISTER = Operation("envelope", "register", 3000, "/api/register", 200, CREDENTIALS)
ENVELOPE_LOGIN = Operation("envelope", "login", 3000, "/api/login", 200, CREDENTIALS)

OPERATIONS = (
    SESSION_LOGIN,
    SESSION_SIGNUP,
    TOKEN_REGISTER,
    TOKEN_LOGIN,
    ADMIN_LOGIN,
    ADMIN_REGISTER,
    ADMIN_CREATE_USER,
    ENVELOPE_REGISTER,
    ENVELOPE_LOGIN,
)
LOGINS = tuple(operation for operation in OPERATIONS if operation.is_log_in)

# Of a service of their own, for its paths are also those of another document.
RUOYI_LOGIN = Operation("ruoyi", "login", 8080, "/login", 200, (*CREDENTIALS, "code", "uuid"))
RUOYI_REGISTER = Operation("ruoyi", "register", 8080, "/register", 200, RUOYI_LOGIN.fields)

STANDS_FOR = {
    "用户不存在/密码错误": 401,
    "请求访问：": 401,
    "保存用户'": 409,
    "访问资源不存在": 404,
    "请求方式不支持": 405,
    "请求内容过大": 413,
    "请求参数错误": 400,
    "账户": 400,
}
"""How a failure begins that is answered with a success of HTTP → the status it would have."""


def port_of(service: Service, documented: int) -> int:
    """Returns the port that stands for 8080 or 3000."""
    return service.ports[{8080: 0, 3000: 1}[documented]]


def client_of(service: Service, documented: int) -> Client:
    """Returns a client of the port that stands for 8080 or 3000."""
    return Client({8080: service.first, 3000: service.second}[documented])


def send(
    service: Service, operation: Operation, body: dict[str, Any], token: str | None = None
) -> Answer:
    """Sends an operation's body, with a bearer token if there is one."""
    headers = {"Authorization": f"Bearer {token}"} if token else None
    return client_of(service, operation.port).post(operation.path, body, headers=headers)


def new_captcha(service: Service) -> str:
    """Returns the id of a live captcha."""
    captcha_id: str = client_of(service, 8080).get("/captcha").json()["captchaId"]
    return captcha_id


def status_of(answer: Answer) -> int:
    """Returns the status of an answer, or the one that the sentence in it stands for."""
    body = answer.json()
    if body.get("code", 200) == 200:
        return answer.status
    assert answer.status == 200
    [status] = [status for words, status in STANDS_FOR.items() if body["msg"].startswith(words)]
    return status


def token_of(answer: Answer) -> str:
    """Returns the access token of a successful answer, whichever the dialect."""
    body = answer.json()
    token: str | None = body.get("session_token") or body.get("token")
    return token or body["data"]["token"]


def assert_fails_in_own_words(dialect: str, answer: Answer) -> None:
    """Checks a failure's shape, and that no word of another language is in it."""
    assert answer.headers["Content-Type"] == "application/json"
    assert b"\\u" not in answer.body
    body = answer.json()
    if dialect in ("session", "token"):
        assert list(body) == ["error"]
        assert _LATIN.search(body["error"])
        assert not _CJK.search(answer.text)
    elif dialect == "admin":
        assert list(body) == ["message"]
        _assert_chinese(body["message"])
    else:
        _assert_envelope(body, answer.status)


def _assert_envelope(body: dict[str, Any], status: int) -> None:
    assert list(body)[:4] == ["success", "message", "statusCode", "errorCode"]
    assert list(body)[4:] in ([], ["details"])
    assert body["success"] is False
    assert body["statusCode"] == status
    assert re.fullmatch("[A-Z_]+", body["errorCode"])
    _assert_chinese(body["message"])
    if body["errorCode"] == "INVALID_PASSWORD":
        assert body["details"] == {"min_length": 8, "requires_uppercase": True}
        return
    details = body.get("details", {"username": ["无"]})
    assert details.keys() <= {"username", "password"}
    assert details
    for sentences in details.values():
        assert sentences
        for sentence in sentences:
            _assert_chinese(sentence)


def _assert_chinese(text: str) -> None:
    assert _CJK.search(text), text
    assert not _LATIN.search(text), text
