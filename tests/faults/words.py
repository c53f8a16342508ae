"""What may be answered while something is broken: a success, or a failure in documented words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from authsvc.core.errors import (
    CaptchaRejected,
    CaptchasUnavailable,
    InvalidToken,
    Overloaded,
    SessionsUnavailable,
    UsersUnavailable,
)
from authsvc.dialects import admin, envelope, native, session, token
from authsvc.dialects.native.problems import PROBLEMS
from tests.e2e.frontends import ADMIN, ENVELOPE, SESSION, TOKEN, Dialect
from tests.support.client import Answer

NATIVE = Dialect("native", 0, "/v1/signup", "/v1/login", 201, {})
DIALECTS = (SESSION, TOKEN, ADMIN, ENVELOPE, NATIVE)

JSON, PROBLEM = "application/json", "application/problem+json"

# What a fault may make of a request that is right in itself. Never that a name is taken, that
# credentials are wrong or that something was malformed: none of it is true here.
FAULTS = (
    UsersUnavailable,
    SessionsUnavailable,
    CaptchasUnavailable,
    Overloaded,
    CaptchaRejected,
    RuntimeError,
)
INSTEAD = (502, 504)
"""What nginx answers for a service that is dead or silent."""

Words = tuple[int, Any]


@dataclass(frozen=True)
class Operation:
    """An operation of a dialect.

    Args:
        view: its view's name, by which the page's table of errors may differ.
        success: the status of a success.
        members: the names in a success's body.
        instead: what nginx says for it, in the dialect's own words.
    """

    view: str
    success: int
    members: frozenset[str]
    instead: str = ""


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


_TOKEN = _names("userId username email token")
_ADMIN = _names("message token user")
_NATIVE = _names("accessToken refreshToken tokenType expiresIn user")
_SESSION = _names("message session_token")

OPERATIONS = {
    (SESSION, "captcha"): Operation(
        "create_captcha_id", 200, _names("captchaId"), "Failed to generate captcha image"
    ),
    (SESSION, "sign-up"): Operation("sign_up", 200, _SESSION, "Failed to create user"),
    (SESSION, "log-in"): Operation("log_in", 200, _SESSION, "Failed to create session"),
    (TOKEN, "sign-up"): Operation("register", 201, _TOKEN, "Internal server error"),
    (TOKEN, "log-in"): Operation("log_in", 200, _TOKEN, "Internal server error"),
    (ADMIN, "sign-up"): Operation("register", 201, _ADMIN, "服务器错误"),
    (ADMIN, "log-in"): Operation("log_in", 200, _ADMIN, "服务器错误"),
    (ENVELOPE, "sign-up"): Operation(
        "register", 200, _names("success message statusCode"), "服务器内部错误，请稍后再试"
    ),
    (ENVELOPE, "log-in"): Operation(
        "log_in", 200, _names("success message data statusCode"), "服务器内部错误，登录失败"
    ),
    (NATIVE, "captcha"): Operation("issue_captcha", 200, _names("captchaId")),
    (NATIVE, "sign-up"): Operation("sign_up", 201, _NATIVE),
    (NATIVE, "log-in"): Operation("log_in", 200, _NATIVE),
}

PAGES = {
    SESSION: session.DIALECT,
    TOKEN: token.DIALECT,
    ADMIN: admin.DIALECT,
    ENVELOPE: envelope.DIALECT,
    NATIVE: native.DIALECT,
}


def succeeded(dialect: Dialect, operation: str, answer: Answer | None) -> bool:
    """Tell whether an answer is the document's success."""
    return answer is not None and answer.status == OPERATIONS[dialect, operation].success


def is_documented(dialect: Dialect, operation: str, answer: Answer) -> bool:
    """Tell whether a document has this answer: the content type, the status and the whole body."""
    try:
        body = answer.json()
    except ValueError:
        return False
    said, place = (answer.status, body), OPERATIONS[dialect, operation]
    if succeeded(dialect, operation, answer):
        return answer.headers.get_content_type() == JSON and set(body) == place.members
    failure = PROBLEM if dialect is NATIVE else JSON
    return answer.headers.get_content_type() == failure and said in failures(dialect, place)


def failures(dialect: Dialect, place: Operation) -> list[Words]:
    """Return all that a fault may make of an operation, the proxy's words last."""
    raised = [error.__new__(error) for error in FAULTS]
    return [*_in_words(dialect, place.view, raised), *_in_the_services_place(dialect, place)]


def says_invalid_token(answer: Answer) -> bool:
    """Tell whether the native dialect says that a token is not honoured."""
    return (answer.status, answer.json()) == _problem(PROBLEMS_OF[InvalidToken], 401)


def _in_words(dialect: Dialect, view: str, raised: Iterable[Exception]) -> Iterable[Words]:
    page = PAGES[dialect]
    for error in raised:
        row = page.errors.row(error, view)
        if dialect is NATIVE:
            yield _problem(row[0], PROBLEMS[row[0]].status)
        else:
            body, status = cast(tuple[Any, int], page.failure(error, *row))
            yield status, body


def _in_the_services_place(dialect: Dialect, place: Operation) -> Iterable[Words]:
    for status in INSTEAD:
        if dialect is NATIVE:
            yield _problem("internal_error", status)
        elif dialect is ENVELOPE:
            yield (
                status,
                {
                    "success": False,
                    "message": place.instead,
                    "statusCode": status,
                    "errorCode": "SERVER_ERROR",
                },
            )
        else:
            yield status, {"message" if dialect is ADMIN else "error": place.instead}


PROBLEMS_OF = {error: row[0] for error, row in native.DIALECT.errors.rows.items()}


def _problem(code: str, status: int) -> Words:
    title, detail = PROBLEMS[code].en
    return status, {
        "type": f"urn:authsvc:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
