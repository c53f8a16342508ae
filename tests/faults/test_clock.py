"""The service's clock is stepped back in the middle of sign-up traffic."""

import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from json import loads
from pathlib import Path

import pytest

from tests.conftest import require
from tests.faults.trial import Fault
from tests.faults.world import (
    World,
    database_for_service,
    names_in,
    served,
    service_on,
    witnesses,
)
from tests.support.binaries import Group
from tests.support.mariadb import MariaDB
from tests.support.redis import RedisServer

DATABASE = "stepped"
BACK = 60
SEEN_WITHIN = 1
FAKETIME = Group("faketime", ("faketime",))
LIBRARIES = "*/faketime/libfaketimeMT.so.1"

# With monotonic clocks left alone, libfaketime 0.9.10 refuses the sleep that CPython uses.
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select((), (), (), seconds) and None
"""


class ClockSteppedBack(Fault):
    """The service's time of day jumps back while it runs; its monotonic clock goes on."""

    name = f"clock stepped back {BACK} s"
    is_felt = False

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock

    def strike(self) -> None:
        self._clock.set(-BACK)

    def mend(self) -> float:
        return time.monotonic()


class Clock:
    """A time of day of its own for whatever is started in its environment."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "offset"
        self._folder = folder
        (folder / "sitecustomize.py").write_text(SLEEP)
        self.set(0)

    def set(self, offset: int) -> None:
        """Say how many seconds off it is, in one step that no reader sees half of."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{offset:+d}\n")
        written.replace(self._file)

    def environment(self) -> dict[str, str]:
        """Return what makes a program see this clock."""
        [library] = Path("/usr/lib").glob(LIBRARIES)
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": str(SEEN_WITHIN),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": str(self._folder),
        }


def issued_at(token: str) -> int:
    """Return when a token says that it was issued."""
    claims = token.split(".")[1]
    issued: int = loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iat"]
    return issued


@pytest.fixture
def world(
    mariadb: MariaDB, redis_server: RedisServer, nginx_binary: str, clock: Clock, tmp_path: Path
) -> Iterator[World]:
    """A service with a clock of its own."""
    url = database_for_service(mariadb, DATABASE)
    stores = {"AUTHSVC_DATABASE_URL": url, "AUTHSVC_REDIS_URL": redis_server.url}
    service = service_on(tmp_path, {**stores, **clock.environment()})
    service.migrate()
    with served(tmp_path, service, names_in(mariadb, DATABASE)) as world:
        yield world


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    require(FAKETIME)
    return Clock(tmp_path / "clock")


def test_a_clock_that_is_stepped_back_costs_no_user_and_no_session(
    world: World, clock: Clock, trial: Callable[[World, Fault], None]
) -> None:
    known = witnesses(world)
    trial(world, ClockSteppedBack(clock))
    [later] = witnesses(world, 1)
    assert time.time() - issued_at(later.token) >= BACK  # the test's own clock was left alone
    for witness in [*known, later]:
        assert world.who_is(witness.token).status == 200
