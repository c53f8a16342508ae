"""Pages of other origins that may call (CORS), on every path, whatever the answer."""

from collections.abc import Sequence
from re import Pattern

from flask import Flask, Response, request
from flask_cors import CORS

from authsvc.web import cookies

_EXPOSED_HEADERS = [
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-ID",
]
_PREFLIGHT_HEADERS = ("Origin", "Access-Control-Request-Method")


def install(app: Flask, origins: Sequence[str | Pattern[str]], *, credentials: bool) -> None:
    """Let pages of these origins call, and read every answer, errors included.

    Args:
        app: the application.
        origins: patterns that match whole origins; `*` stands for all of them.
        credentials: whether their requests may carry cookies.
    """
    app.before_request(_answer_preflight_of_no_operation)
    CORS(
        app,
        origins=list(origins),
        allow_headers=["Authorization", "Content-Type", cookies.CSRF_HEADER],
        expose_headers=_EXPOSED_HEADERS,
        supports_credentials=credentials,
        max_age=600,
        vary_header=False,
    )
    app.after_request(_vary)


def _answer_preflight_of_no_operation() -> Response | None:
    """Answer a preflight where nothing is, or a browser would hide the 404 that comes after it."""
    if request.routing_exception is None or request.method != "OPTIONS":
        return None
    is_preflight = all(name in request.headers for name in _PREFLIGHT_HEADERS)
    return Response() if is_preflight else None


def _vary(response: Response) -> Response:
    """Tell caches that an answer is for its origin alone, also one that no origin asked for."""
    response.vary.add("Origin")
    return response
