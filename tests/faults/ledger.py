"""What was asked and what was answered, and what that means for the users who are stored."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from tests.e2e.frontends import Dialect
from tests.faults.words import INSTEAD, is_documented, succeeded
from tests.support.client import Answer


@dataclass(frozen=True, slots=True)
class Entry:
    """One request.

    Args:
        name: the user that it was about.
        dialect: what it was asked in.
        operation: captcha, sign-up or log-in.
        answer: what was answered; None if no whole answer came.
        began: when it was sent, on the monotonic clock.
        seconds: how long the answer took.
    """

    name: str
    dialect: Dialect
    operation: str
    answer: Answer | None
    began: float
    seconds: float

    @property
    def ended(self) -> float:
        """When the answer had come."""
        return self.began + self.seconds

    @property
    def succeeded(self) -> bool:
        """Whether the answer is a success."""
        return succeeded(self.dialect, self.operation, self.answer)

    @property
    def is_documented(self) -> bool:
        """Whether no answer came, or one that the document has."""
        return self.answer is None or is_documented(self.dialect, self.operation, self.answer)

    def __str__(self) -> str:
        said = "no answer" if self.answer is None else f"{self.answer.status} {self.answer.text}"
        return f"{self.dialect.name} {self.operation} after {self.seconds:.1f} s: {said}"


class Ledger:
    """All requests of a trial, in the order of their answers."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> Entry:
        """Write an entry down, from any thread."""
        with self._lock:
            self._entries.append(entry)
        return entry

    def entries(self, operation: str | None = None) -> list[Entry]:
        """Return what was written down so far, of one operation or of all."""
        with self._lock:
            return [entry for entry in self._entries if operation in (None, entry.operation)]

    def acknowledged(self) -> list[Entry]:
        """Return the sign-ups that were answered with success."""
        return [entry for entry in self.entries("sign-up") if entry.succeeded]

    def unanswered(self, *, service_died: bool) -> list[Entry]:
        """Return the requests that the service itself never answered.

        Where it was killed, the proxy's answer in its place tells no more than a
        connection that breaks; everywhere else such an answer counts as the service's.
        """
        return [entry for entry in self.entries() if _is_unanswered(entry, service_died)]

    def refused(self, *, service_died: bool) -> list[Entry]:
        """Return the sign-ups that were answered with an error."""
        return [
            entry
            for entry in self.entries("sign-up")
            if not entry.succeeded and not _is_unanswered(entry, service_died)
        ]

    def longest(self) -> float:
        """Return how many seconds the slowest answer took."""
        return max((entry.seconds for entry in self.entries()), default=0.0)


def _is_unanswered(entry: Entry, service_died: bool) -> bool:
    return entry.answer is None or (service_died and entry.answer.status in INSTEAD)


def resumed_at(entries: Iterable[Entry], since: float) -> float | None:
    """Return when the first success came after which nothing that was asked failed any more.

    Args:
        entries: all requests; those that began before `since` may still fail.
        since: when the cause had gone.
    """
    later = [entry for entry in entries if entry.began >= since]
    last_failure = max((entry.began for entry in later if not entry.succeeded), default=since)
    return min(
        (entry.ended for entry in later if entry.succeeded and entry.began >= last_failure),
        default=None,
    )
