"""The one place through which every request passes: its id, its headers, its figures, its line.

It stands before Flask, so that nothing which is answered is left out, and costs little.
"""

import secrets
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from flask import Flask, request
from structlog.contextvars import bind_contextvars, unbind_contextvars
from werkzeug.exceptions import HTTPException

from authsvc.core.errors import AuthError
from authsvc.web.client import CLIENT_ADDRESS, REQUEST_ID, TrustedProxies
from authsvc.web.mounts import MountedRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

OWN, NO_OPERATION, UNEXPECTED = "service", "none", "unexpected"
"""In place of a dialect, an operation and an outcome, where there is none that has a name."""

_ID_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_SHORTEST_ID, _LONGEST_ID = 8, 64
_UNWRITTEN = frozenset({"live", "ready"})
_HEADERS = {
    "cache-control": ("Cache-Control", "no-store"),
    "content-security-policy": (
        "Content-Security-Policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    # Pictures of captchas are shown on pages of other origins.
    "cross-origin-resource-policy": ("Cross-Origin-Resource-Policy", "cross-origin"),
    "referrer-policy": ("Referrer-Policy", "no-referrer"),
    "x-content-type-options": ("X-Content-Type-Options", "nosniff"),
    "x-frame-options": ("X-Frame-Options", "DENY"),
}
_NO_CONTENT = f"{HTTPStatus.NO_CONTENT.value} "

_outcomes: dict[type[BaseException], str] = {}

Environ = dict[str, Any]
Headers = list[tuple[str, str]]


@dataclass(slots=True)
class Answered:
    """What is known of a request once it is answered. `seconds`: until the answer was ready."""

    request_id: str
    dialect: str
    operation: str
    outcome: str
    status: int
    seconds: float
    method: str
    client: str
    route: str


class Meter(Protocol):
    """Adds up figures."""

    def answered(self, dialect: str, operation: str, outcome: str, seconds: float) -> None:
        """Count an answer, and the seconds that it took."""


class RequestSpan(Protocol):
    """The trace of one request, while it is under way."""

    def answered(self, answered: Answered) -> None:
        """Take down what is known now."""


class Tracing(Protocol):
    """Follows requests through services."""

    def request(self, environ: Environ, *, believed: bool) -> AbstractContextManager[RequestSpan]:
        """Follow a request; its own word on where it comes from only if that is `believed`."""


def install(
    app: Flask, proxies: TrustedProxies, meter: Meter, tracing: Tracing | None = None
) -> None:
    """Watch every request of the application, and complete every answer."""
    app.wsgi_app = _Watch(app.wsgi_app, proxies, meter, tracing)  # type: ignore[method-assign]


def note_outcome(error: Exception) -> None:
    """Let the request at hand end in what the error states."""
    if isinstance(request, MountedRequest):
        request.outcome = outcome_of(type(error))


def outcome_of(kind: type[BaseException]) -> str:
    """Return a fact's name, as `invalid_credentials`; the same one for everything unexpected."""
    if kind not in _outcomes:
        known = issubclass(kind, AuthError | HTTPException)
        _outcomes[kind] = _snake_case(kind.__name__) if known else UNEXPECTED
    return _outcomes[kind]


def _snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]


class _Watch:
    def __init__(
        self,
        app: "WSGIApplication",
        proxies: TrustedProxies,
        meter: Meter,
        tracing: Tracing | None,
    ) -> None:
        self._app = app
        self._proxies = proxies
        self._meter = meter
        self._tracing = tracing
        self._log = structlog.get_logger().bind(logger="authsvc.access")

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        environ[REQUEST_ID] = name = self._name(environ)
        bind_contextvars(request_id=name)
        try:
            if self._tracing is None:
                return self._serve(environ, start_response, None)
            with self._tracing.request(environ, believed=self._believes(environ)) as span:
                return self._serve(environ, start_response, span)
        finally:
            unbind_contextvars("request_id")

    def _serve(
        self, environ: Environ, start_response: "StartResponse", span: RequestSpan | None
    ) -> Iterable[bytes]:
        began = perf_counter()
        environ[CLIENT_ADDRESS] = self._proxies.client(
            environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
        )

        def complete(status: str, headers: Headers, error: Any = None) -> Callable[[bytes], object]:
            _complete(status, headers, environ[REQUEST_ID])
            self._tell(_answered(environ, status, perf_counter() - began), span)
            return start_response(status, headers, error)

        return self._app(environ, complete)

    def _tell(self, answered: Answered, span: RequestSpan | None) -> None:
        self._meter.answered(
            answered.dialect, answered.operation, answered.outcome, answered.seconds
        )
        if span is not None:
            span.answered(answered)
        if answered.dialect is not OWN or answered.operation not in _UNWRITTEN:
            self._log.info(
                "request",
                request_id=answered.request_id,
                dialect=answered.dialect,
                operation=answered.operation,
                outcome=answered.outcome,
                status=answered.status,
                duration=round(answered.seconds, 6),
                method=answered.method,
                client=answered.client,
            )

    def _name(self, environ: Environ) -> str:
        given: str | None = environ.get("HTTP_X_REQUEST_ID")
        if given is not None and _is_id(given) and self._believes(environ):
            return given
        return secrets.token_hex(8)

    def _believes(self, environ: Environ) -> bool:
        return self._proxies.trusts(environ.get("REMOTE_ADDR", ""))


def _is_id(text: str) -> bool:
    return _SHORTEST_ID <= len(text) <= _LONGEST_ID and _ID_LETTERS.issuperset(text)


def _answered(environ: Environ, sent: str, seconds: float) -> Answered:
    asked: MountedRequest = environ["werkzeug.request"]
    status, mount, rule = int(sent[:3]), asked.mount, asked.url_rule
    return Answered(
        request_id=environ[REQUEST_ID],
        dialect=OWN if mount is None else mount.dialect,
        operation=NO_OPERATION if rule is None else rule.endpoint.rpartition(".")[2],
        outcome=asked.outcome or _outcome_of_status(status),
        status=status,
        seconds=seconds,
        method=environ["REQUEST_METHOD"],
        client=environ[CLIENT_ADDRESS],
        route="" if rule is None else rule.rule,
    )


def _outcome_of_status(status: int) -> str:
    return "ok" if status < HTTPStatus.BAD_REQUEST else HTTPStatus(status).name.lower()


def _complete(status: str, headers: Headers, name: str) -> None:
    if status.startswith(_NO_CONTENT):
        headers[:] = [header for header in headers if header[0].lower() != "content-type"]
    present = {header[0].lower() for header in headers}
    headers += [header for key, header in _HEADERS.items() if key not in present]
    headers.append(("X-Request-ID", name))
