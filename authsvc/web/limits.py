"""Rate limits: a page marks its views, one limiter counts for all dialects together."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from flask import Flask, Response, after_this_request
from limits import parse_many
from werkzeug.exceptions import TooManyRequests

from authsvc.core.errors import InvalidUsername
from authsvc.core.ports import Counted, RateCounters, Window
from authsvc.core.users import fold, normalise_username
from authsvc.web import body
from authsvc.web.client import client_network

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Rates:
    """How often an address may do what, in the words of `limits` (`10/minute`).

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


def install(app: Flask, rates: Rates, *, enabled: bool, counters: RateCounters) -> None:
    """Count every marked view of the application, and refuse what is too much.

    Args:
        app: its views have all been registered.
        rates: how often an address may do what.
        enabled: off, nothing is counted.
        counters: where requests are counted.
    """
    if not enabled:
        return
    counted: dict[Callable[..., Any], Callable[..., Any]] = {}
    for endpoint, view in app.view_functions.items():
        if hasattr(view, "limited"):
            if view not in counted:
                counted[view] = _count(counters, rates, view)
            app.view_functions[endpoint] = counted[view]


def _count(counters: RateCounters, rates: Rates, view: Callable[..., Any]) -> Callable[..., Any]:
    mark: _Mark = view.limited  # type: ignore[attr-defined]
    of_client = _Limit(mark.scope, getattr(rates, mark.rate))
    of_pair = None
    if mark.name_field is not None:
        of_pair = _Limit(f"{mark.scope}_pair", getattr(rates, f"{mark.rate}_pair"))

    @wraps(view)
    def counted_view(*args: Any, **arguments: Any) -> Any:
        windows = of_client.windows()
        if of_pair is not None and (name := _name_key(mark.name_field)) is not None:
            windows = of_pair.windows(name) + windows
        windows.sort(key=lambda window: window.seconds)
        standing = _standing(windows, counters.count(client_network(), windows))
        after_this_request(standing.tell)
        if standing.is_full:
            raise TooManyRequests
        return view(*args, **arguments)

    return counted_view


class _Limit:
    """A rate of a scope, which may be several, as `10/minute;100/day`."""

    def __init__(self, scope: str, rate: str) -> None:
        self._windows = [
            Window(f"{scope}:{item.amount}/{item.get_expiry()}", item.amount, item.get_expiry())
            for item in parse_many(rate)
        ]

    def windows(self, name: str = "") -> list[Window]:
        """Return what a request is counted in; for a name, in windows of its own."""
        if not name:
            return self._windows[:]
        return [
            Window(f"{window.name}:{name}", window.most, window.seconds) for window in self._windows
        ]


@dataclass(frozen=True, slots=True)
class _Standing:
    """How a client stands in one window: the first that is full, else the shortest."""

    window: Window
    counted: Counted

    @property
    def is_full(self) -> bool:
        return self.counted.count > self.window.most

    def tell(self, response: Response) -> Response:
        """Say it in the headers of an answer."""
        left, ends_at = self.window.most - self.counted.count, self.counted.ends_at
        response.headers["X-RateLimit-Limit"] = str(self.window.most)
        response.headers["X-RateLimit-Remaining"] = str(max(0, left))
        response.headers["X-RateLimit-Reset"] = str(math.ceil(ends_at))
        if self.is_full:
            response.headers["Retry-After"] = str(max(1, math.ceil(ends_at - time.time())))
        return response


def _standing(windows: list[Window], counts: list[Counted]) -> _Standing:
    standings = [_Standing(*pair) for pair in zip(windows, counts, strict=False)]
    return standings[-1] if standings[-1].is_full else standings[0]


def _name_key(field: str | None) -> str | None:
    name = body.peek(field) if field else None
    if name is None:
        return None
    try:
        key = fold(normalise_username(name))
    except InvalidUsername:
        return None
    return hashlib.sha256(key.encode()).hexdigest()[:32]
