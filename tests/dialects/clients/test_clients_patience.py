"""Clients that wait 1.5 s for a log-in are answered within it under ordinary load."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

from tests.dialects.clients.admin import AdminClient
from tests.dialects.clients.browser import Page
from tests.dialects.clients.envelope import EnvelopeClient
from tests.dialects.clients.session import SessionClient
from tests.dialects.clients.token import TokenClient
from tests.dialects.pages import fresh_name
from tests.dialects.stores import Stores
from tests.support.service import Service

PATIENCE = 1.5
"""Seconds: the issue's own bound, which is these clients' time-out."""
ROUNDS = 4
TURNS = 6
PASSWORD, WRONG = "Secret-pass-1", "Wrong-pass-1"
ORIGIN = "http://localhost:5173"

# The service's own defaults, in place of the cheap hashes of tests.
AS_SHIPPED = {
    "AUTHSVC_ARGON2_MEMORY_KIB": "19456",
    "AUTHSVC_ARGON2_TIME_COST": "2",
    "AUTHSVC_HASH_SLOTS": str(len(os.sched_getaffinity(0))),
    "AUTHSVC_HASH_WAIT": "5.0",
}


class Watch:
    """Takes the time of log-ins."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def time(self, log_in: Callable[[], object], *, succeeds: bool) -> None:
        """Let a log-in take place."""
        began = time.monotonic()
        succeeded = bool(log_in())
        self.seconds.append(time.monotonic() - began)
        assert succeeded is succeeds


def with_session(page: Page, stores: Stores, watch: Watch) -> None:
    client = SessionClient(page, stores.answer_of)
    for name in [fresh_name("patient") for _ in range(TURNS)]:
        watch.time(partial(client.log_in, name, PASSWORD), succeeds=False)
        assert client.sign_up(name, PASSWORD, f"{name}@example.com")
        watch.time(partial(client.log_in, name, PASSWORD), succeeds=True)


def with_token(page: Page, _: Stores, watch: Watch) -> None:
    client = TokenClient(page)
    for name in [fresh_name("patient") for _ in range(TURNS)]:
        watch.time(partial(client.log_in, name, PASSWORD), succeeds=False)
        assert client.register(name, PASSWORD, f"{name}@example.com")
        assert client.request("GET", "/v1/me").ok
        watch.time(partial(client.log_in, name, PASSWORD), succeeds=True)


def with_admin(page: Page, _: Stores, watch: Watch) -> None:
    client = AdminClient(page)
    for name in [fresh_name("patient") for _ in range(TURNS)]:
        assert client.register(name, PASSWORD, f"{name}@example.com")
        watch.time(partial(client.log_in, name, WRONG), succeeds=False)
        watch.time(partial(client.log_in, name, PASSWORD), succeeds=True)


def with_envelope(page: Page, _: Stores, watch: Watch) -> None:
    client = EnvelopeClient(page)

    def logged_in(name: str, password: str) -> bool:
        return client.log_in(name, password)["success"] is True

    for name in [fresh_name("patient") for _ in range(TURNS)]:
        assert client.register(name, PASSWORD)["success"] is True
        watch.time(partial(logged_in, name, WRONG), succeeds=False)
        watch.time(partial(logged_in, name, PASSWORD), succeeds=True)


PEOPLE = ((0, with_session), (0, with_token), (1, with_admin), (1, with_envelope))


def longest_log_in(service: Service, stores: Stores) -> float:
    """Let four people come at once, each with another client; return the longest log-in."""
    watch = Watch()

    def come(port: int, person: Callable[[Page, Stores, Watch], None]) -> None:
        with closing(Page((service.first, service.second)[port], ORIGIN)) as page:
            person(page, stores, watch)

    with ThreadPoolExecutor(len(PEOPLE)) as people:
        for done in [people.submit(come, *one) for one in PEOPLE]:
            done.result()
    assert len(watch.seconds) == len(PEOPLE) * TURNS * 2
    return max(watch.seconds)


def test_every_log_in_is_answered_within_the_clients_time_out(stores: Stores) -> None:
    """From the first one after a start on, with the hashes that are shipped.

    The machine may have other things to do: of several rounds one must keep the bound throughout.
    """
    longest: list[float] = []
    while len(longest) < ROUNDS and min(longest, default=PATIENCE + 1) > PATIENCE:
        with stores.service(f"patient-{len(longest)}", AS_SHIPPED) as service:
            longest.append(longest_log_in(service, stores))
    assert min(longest) <= PATIENCE, longest
