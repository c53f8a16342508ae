"""Work in the database that is done again, or looked up, when it failed by no fault of its own."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from authsvc.core.errors import UsersUnavailable
from authsvc.infra import deadlines
from authsvc.infra.connections import CommitUndecided, is_in_the_way, lost_connection

DECISION_SECONDS = 3.0
"""How long the database is asked what became of a COMMIT."""

_TRIES = 6
_PAUSE_SECONDS = 0.02
_REPEAT_SECONDS = 4.0
_LOOK_PAUSE_SECONDS = 0.1

T = TypeVar("T")


class Passing(Exception):
    """What stood in the way of a transaction is gone already."""


def repeated(work: Callable[[], T]) -> T:
    """Do a transaction's work again if only another transaction stood in its way.

    It is done again, once, also if its connection was dead before anything was committed.

    Raises:
        UsersUnavailable
    """
    last_start = time.monotonic() + min(_REPEAT_SECONDS, deadlines.left())
    reconnected = False
    for attempt in range(_TRIES):
        try:
            return work()
        except Passing:
            continue
        except CommitUndecided:
            raise
        except UsersUnavailable as error:
            if lost_connection(error.__cause__) and not reconnected:
                reconnected = True
                continue
            if not is_in_the_way(error.__cause__) or time.monotonic() > last_start:
                raise
            time.sleep(random.uniform(0, _PAUSE_SECONDS * (attempt + 1)))  # noqa: S311
    raise UsersUnavailable


def looked_up(look: Callable[[], bool]) -> bool | None:
    """Return what a look at the database tells; None if it cannot be had in `DECISION_SECONDS`."""
    with deadlines.within(DECISION_SECONDS):
        while deadlines.left() > 0:
            try:
                return look()
            except UsersUnavailable:
                time.sleep(_LOOK_PAUSE_SECONDS)
    return None
