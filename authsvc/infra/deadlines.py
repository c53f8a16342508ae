"""How long what is under way may still take: a budget of time for each request."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from flask import Flask

REQUEST_SECONDS = 8.0
"""Seconds from a request's start after which nothing waits for the database any more."""

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)


def install(app: Flask) -> None:
    """Give every request of the application `REQUEST_SECONDS`."""
    app.before_request(_begin)
    app.teardown_request(_end)


def left() -> float:
    """Return the seconds that are left, negative once they are over; infinite without a budget."""
    return _ends_at.get() - time.monotonic()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give what is done inside at most so many seconds."""
    token = _ends_at.set(min(_ends_at.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ends_at.reset(token)


def _begin() -> None:
    _ends_at.set(time.monotonic() + REQUEST_SECONDS)


def _end(_: BaseException | None) -> None:
    _ends_at.set(math.inf)
