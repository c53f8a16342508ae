"""Others stand in the service's way in MariaDB, in the middle of sign-up traffic."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.conftest import DATABASE
from tests.faults.database_faults import (
    Deadlocks,
    TooManyConnections,
    rows_and_gaps_locked,
    table_locked,
)
from tests.faults.trial import Fault
from tests.faults.world import World, database_for_service, names_in, served, service_on
from tests.support.mariadb import MariaDB
from tests.support.redis import RedisServer
from tests.support.service import ROOT, Service

Trial = Callable[[World, Fault], None]
SHORTEST_DEADLOCKS = 3
MIGRATION_SECONDS = 60


class MigratedTwice(Fault):
    """Two processes bring an empty database to the newest schema at one moment."""

    name = "migration run twice at once"
    seconds = 0.0

    def __init__(self, service: Service) -> None:
        self._service = service
        self.said: list[tuple[int, str]] = []

    def strike(self) -> None:
        self._runs = [
            subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", "wsgi", "migrate"],
                cwd=ROOT,
                env=self._service.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(2)
        ]

    def mend(self) -> float:
        for process in self._runs:
            with process:
                stop = threading.Timer(MIGRATION_SECONDS, process.kill)
                stop.start()
                output, _ = process.communicate()
                stop.cancel()
            self.said.append((process.returncode, output))
        return time.monotonic()


def test_too_many_connections_cost_no_user(world: World, mariadb: MariaDB, trial: Trial) -> None:
    trial(world, TooManyConnections(mariadb))


def test_a_locked_table_hangs_nobody_and_costs_no_user(
    world: World, mariadb: MariaDB, trial: Trial
) -> None:
    trial(world, table_locked(mariadb, DATABASE))


def test_locked_rows_and_gaps_hang_nobody_and_cost_no_user(
    world: World, mariadb: MariaDB, trial: Trial
) -> None:
    trial(world, rows_and_gaps_locked(mariadb, DATABASE))


def test_a_sign_up_that_a_deadlock_undid_is_repeated(
    world: World, mariadb: MariaDB, trial: Trial
) -> None:
    deadlocks = Deadlocks(mariadb, DATABASE)
    before = deadlocks.made
    trial(world, deadlocks)
    assert deadlocks.made - before >= SHORTEST_DEADLOCKS


def test_two_migrations_at_once_make_one_schema_and_both_succeed(
    mariadb: MariaDB, redis_server: RedisServer, nginx_binary: str, tmp_path: Path, trial: Trial
) -> None:
    url = database_for_service(mariadb, "migrated_twice")
    service = service_on(
        tmp_path, {"AUTHSVC_DATABASE_URL": url, "AUTHSVC_REDIS_URL": redis_server.url}
    )
    with served(tmp_path, service, names_in(mariadb, "migrated_twice")) as world:
        twice = MigratedTwice(service)
        trial(world, twice)
    assert [status for status, _ in twice.said] == [0, 0], twice.said
