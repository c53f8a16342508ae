"""Whether what the service stands on answers: asked aside from requests, and never for long."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from alembic.script import ScriptDirectory
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from authsvc.infra.redis import RedisClient

OK, DOWN, BEHIND, TIMED_OUT = "ok", "down", "behind", "timed out"
PATIENCE = 1.0
"""Seconds that a check is waited for."""
FRESH = 1.0
"""Seconds that a verdict is given again, so that nobody can load the stores by asking."""

Check = Callable[[], str]
"""Returns `OK`, or what is wrong, in a word or two that anybody may read. Raises nothing."""

_VERSIONS = "alembic_version"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Run:
    """One run of a check, in a thread of its own."""

    began: float
    ended: float | None = None
    verdict: str = TIMED_OUT
    over: threading.Event = field(default_factory=threading.Event)


class _Watched:
    """A check that runs once at a time, however many ask, and however long it hangs."""

    def __init__(self, name: str, check: Check) -> None:
        self._name = name
        self._check = check
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._told = OK

    def ask(self) -> _Run:
        """Return the run that hangs or is fresh, else a new one."""
        with self._lock:
            run = self._run
            if run is None or (run.ended is not None and time.monotonic() - run.ended > FRESH):
                run = self._run = _Run(time.monotonic())
                thread = threading.Thread(target=self._do, args=(run,), name=f"check {self._name}")
                thread.daemon = True
                thread.start()
        return run

    def verdict(self, run: _Run) -> str:
        """Wait until the run is over, or has taken too long, and return what it says."""
        run.over.wait(max(0.0, run.began + PATIENCE - time.monotonic()))
        verdict = run.verdict
        if verdict != self._told:
            self._told = verdict
            _log.warning("%s: %s", self._name, verdict)
        return verdict

    def _do(self, run: _Run) -> None:
        run.verdict = self._check()
        run.ended = time.monotonic()
        run.over.set()


class Readiness:
    """Runs checks side by side.

    Args:
        checks: name → check. What hangs must end by itself, if later than it is waited for.
    """

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = {name: _Watched(name, check) for name, check in checks.items()}

    def __call__(self) -> dict[str, str]:
        """Return name → verdict, after about a second at the most."""
        runs = {name: watched.ask() for name, watched in self._checks.items()}
        return {name: self._checks[name].verdict(run) for name, run in runs.items()}


class Database:
    """The checks of the database, on connections that no request waits for.

    Args:
        engine: whose way of connecting is taken.
        migrations: the folder of the migrations.
    """

    def __init__(self, engine: Engine, migrations: str) -> None:
        self._engine = Engine(engine.pool.recreate(), engine.dialect, engine.url)
        self._heads = set(ScriptDirectory(migrations).get_heads())

    def answers(self) -> str:
        """Check that a statement is answered."""
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1").all()
        except SQLAlchemyError:
            return DOWN
        return OK

    def is_at_head(self) -> str:
        """Check that the schema is the newest."""
        try:
            with self._engine.connect() as connection:
                return OK if _versions(connection) == self._heads else BEHIND
        except SQLAlchemyError:
            return DOWN


def _versions(connection: Connection) -> set[str]:
    if not inspect(connection).has_table(_VERSIONS):
        return set()
    return set(connection.exec_driver_sql(f"SELECT version_num FROM {_VERSIONS}").scalars())  # noqa: S608


def redis_answers(client: RedisClient) -> str:
    """Check that Redis answers; of its connections one is taken, if one is free in time."""
    try:
        client.ping()
    except RedisError:
        return DOWN
    return OK
