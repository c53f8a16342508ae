"""Rate limits: a page marks its views, one limiter counts for all dialects together."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from flask import Flask, Response, g
from flask_limiter import Limiter
from limits import parse_many
from limits.storage import Storage

from authsvc.core.errors import InvalidUsername
from authsvc.core.ports import Counted, RateCounters, Window
from authsvc.core.users import fold, normalise_username
from authsvc.web import body
from authsvc.web.client import client_network

_SCHEME = "counted-before"
_PREFIX = "authsvc"

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


def install(app: Flask, rates: Rates, *, enabled: bool, counters: RateCounters) -> None:
    """Count every marked view of the application.

    Args:
        app: its views have all been registered.
        rates: how often an address may do what.
        enabled: off, nothing is counted.
        counters: where requests are counted.
    """
    if not enabled:
        return
    app.after_request(_ask_to_wait_only_when_refused)  # the last to see an answer
    limiter = Limiter(
        key_func=client_network,
        app=app,
        headers_enabled=True,
        key_prefix=_PREFIX,
        storage_uri=f"{_SCHEME}://",
    )
    app.after_request(_keep_wait)  # the first
    counted: dict[Callable[..., Any], Callable[..., Any]] = {}
    for endpoint, view in app.view_functions.items():
        if hasattr(view, "limited"):
            if view not in counted:
                counted[view] = _count(limiter, counters, rates, view)
            app.view_functions[endpoint] = counted[view]


class CountedBefore(Storage):
    """What Flask-Limiter reads instead of a storage: what was counted just before it asks.

    It would ask once for each limit, and twice again for each header. A limit that was not
    counted, as another one is full, has nothing.
    """

    STORAGE_SCHEME = [_SCHEME]

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return self.get(key)

    def get(self, key: str) -> int:
        return _counts()[key].count if key in _counts() else 0

    def get_expiry(self, key: str) -> float:
        return _counts()[key].ends_at if key in _counts() else time.time()

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        return None

    def clear(self, key: str) -> None:
        _counts().pop(key, None)


def _counts() -> dict[str, Counted]:
    counts: dict[str, Counted] = g.setdefault("counts", {})
    return counts


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


def _count(limiter: Limiter, counters: RateCounters, rates: Rates, view: Callable[..., Any]) -> Any:
    mark: _Mark = view.limited  # type: ignore[attr-defined]
    limits = [_Limit(getattr(rates, mark.rate), mark.scope, client_network)]
    if mark.name_field is not None:  # first: the answer's headers tell of the first limit
        pair = f"{mark.scope}_pair"
        limits.insert(0, _Limit(getattr(rates, f"{mark.rate}_pair"), pair, _pair(mark.name_field)))
    limited_view = view
    for limit in limits:
        limited_view = limiter.shared_limit(
            limit.rate,
            scope=limit.scope,
            key_func=limit.key,
            exempt_when=limit.exempts,
        )(limited_view)

    @wraps(view)
    def counted_view(*args: Any, **arguments: Any) -> Any:
        windows = [window for limit in limits for window in limit.windows()]
        windows.sort(key=lambda window: window.seconds)
        counts = counters.count(client_network(), windows)
        _counts().update(zip((window.name for window in windows), counts, strict=False))
        return limited_view(*args, **arguments)

    return counted_view


class _Limit:
    """One limit of a view. `key` tells who is counted; nothing, if nobody is."""

    def __init__(self, rate: str, scope: str, key: Callable[[], str]) -> None:
        self.rate, self.scope, self.key = rate, scope, key
        self._items = parse_many(rate)

    def exempts(self) -> bool:
        """Tell whether it does not count the request that is being answered."""
        return not self.key()

    def windows(self) -> list[Window]:
        """Return what a request is counted in, under the names that Flask-Limiter gives it."""
        key = self.key()
        items = [] if self.exempts() else self._items
        return [
            Window(item.key_for(_PREFIX, key, self.scope), item.amount, item.get_expiry())
            for item in items
        ]


def _pair(field: str) -> Callable[[], str]:
    def key() -> str:
        if "pair" not in g:
            name = _name_key(field)
            g.pair = "" if name is None else f"{client_network()} {name}"
        pair: str = g.pair
        return pair

    return key


def _name_key(field: str) -> str | None:
    name = body.peek(field)
    if name is None:
        return None
    try:
        key = fold(normalise_username(name))
    except InvalidUsername:
        return None
    return hashlib.sha256(key.encode()).hexdigest()[:32]
