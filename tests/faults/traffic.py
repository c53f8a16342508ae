"""Clients who sign up through the proxy, each in all dialects in turn, from ever new addresses."""

import http.client
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

from tests.e2e.frontends import ENVELOPE, SESSION, SOLUTION, Dialect, fresh, new_address
from tests.faults.ledger import Entry, Ledger
from tests.faults.words import DIALECTS, NATIVE
from tests.support.client import Answer, Client

PASSWORD = "Otter-4-Fish-lake"
CLIENTS = 24
PAUSE = 0.2
LONGEST_WAIT = 13.0
"""More than any answer may take, so that one that takes longer is seen to."""

CAPTCHAS = {SESSION: "/captcha", NATIVE: "/v1/captcha"}
Bases = tuple[str, str]


class Visitor:
    """Somebody who signs up in a dialect under a new name, from an address of their own."""

    def __init__(self, bases: Bases, dialect: Dialect, ledger: Ledger) -> None:
        self.name = fresh("visitor")
        self.captcha_id: str | None = None
        self._dialect = dialect
        self._ledger = ledger
        self._client = Client(bases[dialect.port], source=new_address(), timeout=LONGEST_WAIT)

    def sign_up(self, captcha_id: str | None = None) -> Entry:
        """Sign up, with a captcha of one's own if none is given; return the last request."""
        body = {"username": self.name, "password": PASSWORD}
        if self._dialect is not ENVELOPE:
            body["email"] = f"{self.name}@example.com"
        if self._dialect in CAPTCHAS:
            self.captcha_id = captcha_id
            if captcha_id is None:
                asked = self._ask("captcha", lambda: self._client.get(CAPTCHAS[self._dialect]))
                if asked.answer is None or not asked.succeeded:
                    return asked
                self.captcha_id = asked.answer.json()["captchaId"]
            body |= {"captchaId": str(self.captcha_id), "value": SOLUTION}
        return self._ask("sign-up", lambda: self._client.post(self._dialect.sign_up, body))

    def log_in(self) -> Entry:
        """Log in."""
        body = {"username": self.name, "password": PASSWORD}
        return self._ask("log-in", lambda: self._client.post(self._dialect.log_in, body))

    def _ask(self, operation: str, request: Callable[[], Answer]) -> Entry:
        began = time.monotonic()
        answer: Answer | None
        try:
            answer = request()
        except (OSError, http.client.HTTPException):
            answer = None
        seconds = time.monotonic() - began
        return self._ledger.add(Entry(self.name, self._dialect, operation, answer, began, seconds))


class Traffic:
    """Clients who sign up again and again, until the block is left."""

    def __init__(self, bases: Bases, ledger: Ledger, clients: int = CLIENTS) -> None:
        self._bases = bases
        self._ledger = ledger
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._come_and_go, args=(number,)) for number in range(clients)
        ]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(3 * LONGEST_WAIT)

    def _come_and_go(self, number: int) -> None:
        turns = cycle(DIALECTS[number % len(DIALECTS) :] + DIALECTS[: number % len(DIALECTS)])
        while not self._over.wait(PAUSE):
            Visitor(self._bases, next(turns), self._ledger).sign_up()


def unable_to_log_in(bases: Bases, acknowledged: list[Entry]) -> list[Entry]:
    """Log in whoever was told that they signed up, in the same dialect; return what failed."""

    def log_in(entry: Entry) -> Entry:
        visitor = Visitor(bases, entry.dialect, Ledger())
        visitor.name = entry.name
        return visitor.log_in()

    with ThreadPoolExecutor(8) as pool:
        return [entry for entry in pool.map(log_in, acknowledged) if not entry.succeeded]
