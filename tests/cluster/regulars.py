"""Those who have signed up long ago: they log in, and are asked who they are, all the time."""

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.cluster.world import STRONG, World, log_in, me, sign_up
from tests.e2e.frontends import fresh, new_address
from tests.faults.ledger import Entry
from tests.faults.table import Row
from tests.faults.traffic import LONGEST_WAIT
from tests.faults.words import NATIVE, OPERATIONS, failures
from tests.support.client import Answer, Client

CLIENTS = 4
PAUSE = 0.05
LONGEST = 10.0


@dataclass(frozen=True, slots=True)
class Opened:
    """A session: its token, and when the answer that gave it had come."""

    token: str
    at: float


class Regulars:
    """Some who log in and check their tokens through nginx, until the block is left.

    `log_ins` and `checks` hold what was answered, `opened` the sessions, each in its order.
    """

    def __init__(self, world: World, count: int = CLIENTS) -> None:
        self.log_ins: list[Entry] = []
        self.checks: list[Entry] = []
        self.opened: list[Opened] = []
        self._base = world.entrance[0]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._stay) for _ in range(count)]

    def __enter__(self) -> "Regulars":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(3 * LONGEST_WAIT)

    def counted_in(self, row: Row) -> Row:
        """Return a row with these requests too."""
        entries = self.log_ins + self.checks
        return replace(
            row,
            requests=row.requests + len(entries),
            unanswered=row.unanswered + sum(entry.answer is None for entry in entries),
            longest=max(row.longest, *(entry.seconds for entry in entries)),
        )

    def complaints(self) -> list[str]:
        """Return what must not be, whatever is killed."""
        said: list[str] = []
        for entry in self.log_ins:
            if not entry.is_documented:
                said.append(f"not in the document: {entry}")
        for entry in self.checks:
            if not _is_documented_check(entry.answer):
                said.append(f"not in the document: {entry}")
        for entry in self.log_ins + self.checks:
            if entry.seconds > LONGEST:
                said.append(f"too slow: {entry}")
        return said

    def failed_after(self, moment: float) -> list[str]:
        """Return what was asked after a moment and did not succeed."""
        entries = self.log_ins + self.checks
        failed = (
            entry
            for entry in entries
            if entry.began > moment and (entry.answer is None or entry.answer.status != 200)
        )
        return [f"{entry.began - moment:.2f} s later: {entry}" for entry in failed]

    def survivors(self) -> list[tuple[Opened, bool]]:
        """Return every session, and whether it is still honoured."""
        client = Client(self._base, source=new_address())
        return [(session, me(client, session.token).status == 200) for session in self.opened]

    def _stay(self) -> None:
        client = Client(self._base, source=new_address(), timeout=LONGEST_WAIT)
        name, token = fresh("regular"), ""
        while not self._over.wait(PAUSE):
            if not token:
                token = self._joined(client, name)
                continue
            entry = _asked(name, "log-in", lambda: log_in(client, name))
            self.log_ins.append(entry)
            if entry.succeeded and entry.answer is not None:
                token = entry.answer.json()["accessToken"]
                self.opened.append(Opened(token, entry.ended))
            self.checks.append(_asked(name, "check", lambda: me(client, token)))  # noqa: B023

    @staticmethod
    def _joined(client: Client, name: str) -> str:
        answer = sign_up(client, name, password=STRONG)
        return answer.json()["accessToken"] if answer.status == 201 else ""


def _asked(name: str, operation: str, request: Callable[[], Answer]) -> Entry:
    began = time.monotonic()
    answer: Answer | None
    try:
        answer = request()
    except (OSError, http.client.HTTPException):
        answer = None
    return Entry(name, NATIVE, operation, answer, began, time.monotonic() - began)


def _is_documented_check(answer: Answer | None) -> bool:
    """Tell whether a check was answered with the user, a failure in words, or "log in again"."""
    if answer is None or answer.status == 200:
        return True
    if answer.status == 401:
        return bool(answer.json()["code"] == "invalid_token")
    return (answer.status, answer.json()) in failures(NATIVE, OPERATIONS[NATIVE, "log-in"])
