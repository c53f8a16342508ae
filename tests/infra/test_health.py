"""Readiness: asked side by side, waited for briefly, and never more than once at a time."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from authsvc.infra import health
from authsvc.infra.database import MIGRATIONS, db
from authsvc.infra.health import BEHIND, DOWN, FRESH, OK, PATIENCE, TIMED_OUT, Database, Readiness
from tests.infra.databases import HASTY, connected_to, migrated, sqlite_url


class Check:
    """A check that hangs until it is let go."""

    def __init__(self, verdict: str = OK, hangs: bool = False) -> None:
        self.verdict = verdict
        self.runs = 0
        self.go = threading.Event()
        if not hangs:
            self.go.set()

    def __call__(self) -> str:
        self.runs += 1
        self.go.wait(20)
        return self.verdict


@pytest.fixture
def hanging() -> Iterator[Check]:
    """A check that hangs as long as the test lasts."""
    check = Check(hangs=True)
    yield check
    check.go.set()


def test_each_verdict_has_its_name() -> None:
    readiness = Readiness({"one": Check(), "two": Check(DOWN)})
    assert readiness() == {"one": OK, "two": DOWN}


def test_checks_that_hang_are_waited_for_once_together(hanging: Check) -> None:
    readiness = Readiness(dict.fromkeys("abcdef", hanging) | {"well": Check()})
    began = time.monotonic()
    verdicts = readiness()
    assert time.monotonic() - began < 3 * PATIENCE
    assert verdicts == dict.fromkeys("abcdef", TIMED_OUT) | {"well": OK}


def test_what_hangs_is_waited_for_no_second_time_and_runs_once(hanging: Check) -> None:
    readiness = Readiness({"slow": hanging})
    readiness()
    began = time.monotonic()
    assert [readiness() for _ in range(20)] == [{"slow": TIMED_OUT}] * 20
    assert time.monotonic() - began < PATIENCE
    assert hanging.runs == 1


def test_a_verdict_is_given_again_while_it_is_fresh_then_renewed() -> None:
    check = Check()
    readiness = Readiness({"it": check})
    for _ in range(50):
        readiness()
    assert check.runs == 1
    check.verdict = DOWN
    time.sleep(FRESH + 0.1)
    assert readiness() == {"it": DOWN}
    assert check.runs == 2


def test_many_who_ask_at_once_make_one_run() -> None:
    check = Check()
    readiness = Readiness({"it": check})
    threads = [threading.Thread(target=readiness) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert check.runs == 1


def test_a_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    readiness = Readiness({"it": Check(DOWN)})
    for _ in range(3):
        readiness()
    assert caplog.messages == ["it: down"]


class TestTheDatabase:
    def test_that_has_every_migration_is_at_head(self, tmp_path: Path) -> None:
        with migrated(sqlite_url(tmp_path)):
            checks = Database(db.engine, MIGRATIONS)
            assert (checks.answers(), checks.is_at_head()) == (OK, OK)

    def test_without_a_schema_is_behind(self, tmp_path: Path) -> None:
        with connected_to(sqlite_url(tmp_path)):
            checks = Database(db.engine, MIGRATIONS)
            assert (checks.answers(), checks.is_at_head()) == (OK, BEHIND)

    def test_of_a_newer_release_is_not_at_head(self, tmp_path: Path) -> None:
        with migrated(sqlite_url(tmp_path)):
            with db.engine.begin() as connection:
                connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
            assert Database(db.engine, MIGRATIONS).is_at_head() == BEHIND

    def test_that_is_not_there_is_down(self, tmp_path: Path) -> None:
        with connected_to(sqlite_url(tmp_path / "missing"), HASTY):
            checks = Database(db.engine, MIGRATIONS)
            assert (checks.answers(), checks.is_at_head()) == (DOWN, DOWN)

    def test_answers_though_requests_have_taken_every_connection(self, tmp_path: Path) -> None:
        with migrated(sqlite_url(tmp_path), HASTY):
            taken = [db.engine.connect() for _ in range(HASTY.size)]
            assert Database(db.engine, MIGRATIONS).answers() == OK
            for connection in taken:
                connection.close()


def test_a_redis_that_is_not_there_is_down() -> None:
    with Redis(host="127.0.0.1", port=1) as client:
        assert health.redis_answers(client) == DOWN
