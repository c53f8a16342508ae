"""Rate limits: a page marks its views, one limiter counts for all dialects together."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, Response, g
from flask_limiter import Limiter

from authsvc.core.errors import InvalidUsername
from authsvc.core.users import fold, normalise_username
from authsvc.web import body
from authsvc.web.client import client_network

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Rates:
    """How often an address may do what, as Flask-Limiter writes it (`10/minute`).

    Args:
        login_pair: log-ins of one name from one address.
        login, signup, captcha, captcha_audio: per address.
        refresh, password, mail: per address; `password` counts whatever asks for one.
    """

    login_pair: str
    login: str
    signup: str
    captcha: str
    captcha_audio: str
    refresh: str
    password: str
    mail: str


@dataclass(frozen=True, slots=True)
class _Mark:
    rate: str
    scope: str
    name_field: str | None


def limited(rate: str, *, scope: str = "", name_field: str | None = None) -> Callable[[View], View]:
    """Mark a view as counted.

    Args:
        rate: which of `Rates` counts it per address.
        scope: what shares the count; the rate's name if not given.
        name_field: the body's field that holds a user name: `<rate>_pair`
            then counts the view per (name, address) as well.
    """

    def mark(view: View) -> View:
        view.limited = _Mark(rate, scope or rate, name_field)  # type: ignore[attr-defined]
        return view

    return mark


def install(app: Flask, rates: Rates, *, enabled: bool, connection_pool: Any) -> None:
    """Count every marked view of the application, in Redis, or in memory while Redis is down.

    Args:
        app: its views have all been registered.
        rates: how often an address may do what.
        enabled: off, nothing is counted.
        connection_pool: where the connections to Redis come from.
    """
    if not enabled:
        return
    app.after_request(_ask_to_wait_only_when_refused)  # the last to see an answer
    limiter = Limiter(
        key_func=client_network,
        app=app,
        headers_enabled=True,
        in_memory_fallback_enabled=True,
        # Of the requests that find Redis down at one moment, only one falls back: the others fail.
        swallow_errors=True,
        key_prefix="authsvc:limit",
        storage_uri="redis://",
        storage_options={"connection_pool": connection_pool},
    )
    app.after_request(_keep_wait)  # the first
    counted: dict[Callable[..., Any], Callable[..., Any]] = {}
    for endpoint, view in app.view_functions.items():
        if hasattr(view, "limited"):
            if view not in counted:
                counted[view] = _count(limiter, rates, view, view.limited)
            app.view_functions[endpoint] = counted[view]


def _keep_wait(response: Response) -> Response:
    """Hide a wait that is none of the limiter's, which would lengthen it to its own window."""
    g.wait = response.headers.pop("Retry-After", None)
    return response


def _ask_to_wait_only_when_refused(response: Response) -> Response:
    """Take back the header that Flask-Limiter gives successful answers too (RFC 9110, 10.2.3).

    A wait that another than the limiter asks for is told as that one wants it.
    """
    wait = g.pop("wait", None)
    if wait is not None:
        response.headers["Retry-After"] = wait
    elif response.status_code not in (429, 503):
        response.headers.pop("Retry-After", None)
    return response


def _count(limiter: Limiter, rates: Rates, view: Callable[..., Any], mark: _Mark) -> Any:
    if mark.name_field is not None:  # first: the answer's headers tell of the first limit
        pair = f"{mark.rate}_pair"
        view = limiter.shared_limit(
            getattr(rates, pair),
            scope=f"{mark.scope}_pair",
            key_func=lambda: f"{client_network()} {_name_key(mark.name_field)}",
            exempt_when=lambda: _name_key(mark.name_field) is None,
        )(view)
    return limiter.shared_limit(getattr(rates, mark.rate), scope=mark.scope)(view)


def _name_key(field: str | None) -> str | None:
    name = body.peek(field) if field else None
    if name is None:
        return None
    try:
        key = fold(normalise_username(name))
    except InvalidUsername:
        return None
    return hashlib.sha256(key.encode()).hexdigest()[:32]
