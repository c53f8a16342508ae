"""Connections to the database: how they are lent, and what their failures mean.

There are two pools. Reads are statements of their own, on connections that commit by
themselves: one statement on the wire each, and nothing before or after it. Writes have
connections on which a transaction begins by itself and ends with COMMIT.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any, TypeVar, TypeVarTuple

from flask import Flask, current_app
from sqlalchemy import (
    URL,
    BindParameter,
    Connection,
    Dialect,
    Engine,
    Row,
    Select,
    bindparam,
    event,
)
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    InvalidatePoolError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql.selectable import TypedReturnsRows

from authsvc.core.errors import UsersUnavailable
from authsvc.infra import deadlines
from authsvc.infra.hosts import Place
from authsvc.infra.wire import NOT_READY, BoundedConnection, Connector

SQLITE = "sqlite"

T = TypeVar("T")
Columns = TypeVarTuple("Columns")
KEY: BindParameter[Any] = bindparam("key")
"""What a `Lookup` is given."""

_EXTENSION = "authsvc-database"
_FAILURES = (OperationalError, InterfaceError, InternalError, PoolTimeout)
_DEADLOCK, _LOCK_WAIT_TIMEOUT = 1213, 1205
_NO_SUCH_TABLE = 1146
_SHUTTING_DOWN = 1053
_READ_ONLY = frozenset({1290, 1792, 1836})
_LEAVE_THE_HOST = frozenset({NOT_READY, _SHUTTING_DOWN}) | _READ_ONLY


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Connections to the database: counts, and times in seconds."""

    size: int
    overflow: int
    wait: int
    recycle: int
    connect_timeout: int
    read_timeout: int
    write_timeout: int


class CommitUndecided(UsersUnavailable):
    """A COMMIT was sent, and its answer never came."""


class Connections:
    """Lends connections, at most as many at a time as the pool's options say.

    Args:
        writes: an engine whose transactions begin by themselves.
        reads: an engine whose statements are committed each by itself.
        places: the database's hosts.
        pool: counts and times.
    """

    def __init__(
        self, writes: Engine, reads: Engine, places: tuple[Place, ...], pool: PoolOptions
    ) -> None:
        self.writes = writes
        self.reads = reads
        self._room = BoundedSemaphore(pool.size + pool.overflow)
        self._wait = pool.wait
        if writes.dialect.name == SQLITE:
            for engine in (writes, reads):
                event.listen(engine, "connect", _prepare_sqlite)
            event.listen(writes, "begin", _beginning_within(pool.write_timeout))
            return
        connector = Connector(
            places, pool.connect_timeout, pool.read_timeout, max(1, pool.read_timeout - 1)
        )
        for engine, autocommit in ((writes, False), (reads, True)):
            _connect_with(connector, engine, autocommit)

    @contextmanager
    def lend(self, *, writes: bool) -> Iterator[Connection]:
        """Lend a connection.

        Raises:
            UsersUnavailable: the database did not answer, or too many connections are lent.
        """
        if not self._room.acquire(timeout=max(0.0, min(self._wait, deadlines.left()))):
            raise UsersUnavailable
        try:
            with (self.writes if writes else self.reads).connect() as connection:
                yield connection
        except _FAILURES as error:
            raise UsersUnavailable from error
        except ProgrammingError as error:
            if _code(error) == _NO_SUCH_TABLE:
                raise UsersUnavailable from error
            raise
        finally:
            self._room.release()

    def dispose(self) -> None:
        """Close the connections that nobody uses."""
        self.writes.dispose()
        self.reads.dispose()


def install(app: Flask, connections: Connections) -> None:
    """Let the application use these connections."""
    app.extensions[_EXTENSION] = connections


def of(app: Flask) -> Connections:
    """Return the connections of an application."""
    connections: Connections = app.extensions[_EXTENSION]
    return connections


@contextmanager
def connected(*, writes: bool = False) -> Iterator[Connection]:
    """Lend a connection; writes are in a transaction that is rolled back unless committed.

    Raises:
        UsersUnavailable: the database did not answer.
    """
    with of(current_app).lend(writes=writes) as connection:
        yield connection


def fetch(wanted: TypedReturnsRows[*Columns]) -> Sequence[Row[*Columns]]:
    """Return the rows of one SELECT; it is asked again, once, if its connection was dead.

    Raises:
        UsersUnavailable: the database did not answer.
    """
    return _asked(lambda connection: connection.execute(wanted).all())


class Lookup:
    """A SELECT by one key, made into text once: it costs half of what `fetch` does.

    Args:
        wanted: its only parameter is `KEY`, as often as need be. Values are not converted:
            they come as the driver gives them.
    """

    def __init__(self, wanted: Select[*tuple[Any, ...]]) -> None:
        self._wanted = wanted
        self._texts: dict[str, tuple[str, int]] = {}

    def __call__(self, key: object) -> Sequence[Row[Any]]:
        """Return the rows; they are asked for again, once, if the connection was dead.

        Raises:
            UsersUnavailable: the database did not answer.
        """
        return _asked(lambda connection: self._rows(connection, key))

    def _rows(self, connection: Connection, key: object) -> Sequence[Row[Any]]:
        sql, positions = self._text_for(connection.dialect)
        parameters = (key,) * positions if positions else {KEY.key: key}
        return connection.exec_driver_sql(sql, parameters).all()

    def _text_for(self, dialect: Dialect) -> tuple[str, int]:
        """Return the text, and how many parameters it has where they have no names."""
        if dialect.name not in self._texts:
            made = self._wanted.compile(dialect=dialect)
            self._texts[dialect.name] = str(made), len(made.positiontup or ())
        return self._texts[dialect.name]


def _asked(ask: Callable[[Connection], T]) -> T:
    try:
        with connected() as connection:
            return ask(connection)
    except UsersUnavailable as error:
        if not lost_connection(error.__cause__):
            raise
    with connected() as connection:
        return ask(connection)


def commit(connection: Connection) -> None:
    """Commit.

    Raises:
        CommitUndecided: what was to be stored may be, or may not be.
    """
    try:
        connection.commit()
    except DBAPIError as error:
        if _code(error) == _DEADLOCK:
            raise
        raise CommitUndecided from error


def is_in_the_way(error: BaseException | None) -> bool:
    """Tell whether the database undid the transaction only because another stood in its way."""
    return isinstance(error, DBAPIError) and _code(error) in (_DEADLOCK, _LOCK_WAIT_TIMEOUT)


def lost_connection(error: BaseException | None) -> bool:
    """Tell whether a connection was broken, or its host is not the one to ask any more."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def engine_options(url: URL, pool: PoolOptions) -> dict[str, Any]:
    """Return how SQLAlchemy is to make an engine."""
    driver = {"timeout": pool.write_timeout}
    if url.get_backend_name() != SQLITE:
        driver = {"charset": "utf8mb4", "write_timeout": pool.write_timeout}  # type: ignore[dict-item]
    return {
        "hide_parameters": True,  # they hold names, addresses and hashes; errors are logged
        "pool_size": pool.size,
        "max_overflow": pool.overflow,
        "pool_timeout": pool.wait,
        "pool_recycle": pool.recycle,
        "pool_reset_on_return": None,  # nothing is left to reset: see `Connections.lend`
        "connect_args": driver,
    }


def _connect_with(connector: Connector, engine: Engine, autocommit: bool) -> None:
    def connect(_: object, __: object, ___: object, options: dict[str, Any]) -> BoundedConnection:
        return connector.connect({**options, "autocommit": autocommit})

    def check(connection: BoundedConnection, _: object, __: object) -> None:
        if connection.is_stale:
            raise InvalidatePoolError

    def learn(context: ExceptionContext) -> None:
        if _code_of(context.original_exception) in _LEAVE_THE_HOST:
            context.is_disconnect = True
        if context.is_disconnect and context.connection is not None:
            lost = context.connection.connection.dbapi_connection
            if isinstance(lost, BoundedConnection):
                connector.lost(lost, context.original_exception)

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkout", check)
    event.listen(engine, "handle_error", learn)


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _beginning_within(seconds: float) -> Callable[[Connection], None]:
    def begin(connection: Connection) -> None:
        wait = max(0, int(min(seconds, deadlines.left()) * 1000))
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {wait}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return begin


def _code(error: DBAPIError) -> object:
    return _code_of(error.orig)


def _code_of(error: BaseException | None) -> object:
    arguments = getattr(error, "args", ())
    return arguments[0] if arguments else None
