"""A trial: sign-up traffic, a fault in the middle of it, and what must hold afterwards."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle

from tests.faults.ledger import Entry, Ledger, resumed_at
from tests.faults.table import Row
from tests.faults.traffic import Traffic, Visitor, unable_to_log_in
from tests.faults.words import DIALECTS
from tests.faults.world import World
from tests.support.processes import wait_until

CALM = 1.0
LONGEST = 10.0
"""Seconds that a request may take."""
BACK_WITHIN = 5.0
"""Seconds from the end of a fault until the service is as before; also for what it still undoes."""
IN_A_ROW = 20
GIVE_UP = 20.0


class Fault(ABC):
    """What is done to the service, or to what it stands on.

    Args:
        name: for the table.
        seconds: how long it lasts.
        kills_service: whether requests die with the process that would have answered them.
        is_felt: True if some request must fail, or else the fault was none; False if
            none may; None if some may.
    """

    name = "nothing"
    seconds = 2.0
    kills_service = False
    is_felt: bool | None = True

    @abstractmethod
    def strike(self) -> None:
        """Begin."""

    @abstractmethod
    def mend(self) -> float:
        """End it, and return since when, on the monotonic clock, the cause is gone."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault made of the traffic; `complaints` says what must not be."""

    row: Row
    complaints: list[str]


def suffer(world: World, fault: Fault) -> Outcome:
    """Let a fault happen in the middle of traffic, and see what came of it."""
    ledger = Ledger()
    with Traffic(world.bases, ledger):
        time.sleep(CALM)
        with _struck(fault) as mended:
            time.sleep(fault.seconds)
        gone_at = mended[0]
        _probe(world, ledger, until=gone_at + GIVE_UP)
    resumed = resumed_at(ledger.entries(), gone_at)
    refused = ledger.refused(service_died=fault.kills_service)
    _settle(world, {entry.name for entry in refused})
    shut_out = {entry.name for entry in unable_to_log_in(world.bases, ledger.acknowledged())}
    stored = world.names()
    half_made = [entry for entry in refused if entry.name in stored]
    missing = [
        entry
        for entry in ledger.acknowledged()
        if entry.name in shut_out or entry.name not in stored
    ]
    row = Row(
        fault.name,
        len(ledger.entries()),
        len(ledger.acknowledged()),
        len(missing),
        len(half_made),
        len(ledger.unanswered(service_died=fault.kills_service)),
        ledger.longest(),
        None if resumed is None else resumed - gone_at,
    )
    complaints = [*_complaints(ledger, row), *_felt(ledger, fault)]
    complaints += [f"lost: {entry}" for entry in missing]
    complaints += [f"half-made: {entry}" for entry in half_made]
    return Outcome(row, complaints)


@contextmanager
def _struck(fault: Fault) -> Iterator[list[float]]:
    """Strike and, whatever happens, mend; the list then holds when the cause went away."""
    mended: list[float] = []
    try:
        fault.strike()
        yield mended
    finally:
        mended.append(fault.mend())


def _probe(world: World, ledger: Ledger, until: float) -> None:
    """Sign up and log in, one request after the other, until many succeeded in a row."""
    dialects, probes = cycle(DIALECTS), list[Entry]()
    while time.monotonic() < until:
        visitor = Visitor(world.bases, next(dialects), ledger)
        probes.append(visitor.sign_up())
        if probes[-1].succeeded:
            probes.append(visitor.log_in())
        if len(probes) >= IN_A_ROW and all(probe.succeeded for probe in probes[-IN_A_ROW:]):
            return
        time.sleep(0.02)


def _settle(world: World, refused: set[str]) -> None:
    """Give the service time to undo what it still has to."""
    wait_until(lambda: not refused & world.names(), BACK_WITHIN)


def _complaints(ledger: Ledger, row: Row) -> Iterator[str]:
    if not row.acknowledged:
        yield "nobody could sign up at all"
    for entry in ledger.entries():
        if entry.seconds > LONGEST:
            yield f"too slow: {entry}"
        if not entry.is_documented:
            yield f"not in the document: {entry}"
    if row.recovered is None or row.recovered > BACK_WITHIN:
        yield f"recovered after {row.recovered} s"


def _felt(ledger: Ledger, fault: Fault) -> Iterator[str]:
    failed = [entry for entry in ledger.entries() if not entry.succeeded]
    if fault.is_felt and not failed:
        yield "nothing failed: the fault was none"
    if fault.is_felt is False:
        yield from (f"failed: {entry}" for entry in failed)
