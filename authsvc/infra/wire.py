"""Connections to MySQL and MariaDB that wait no longer than a request may, on hosts that work."""

import select
import socket
import ssl
from functools import cache
from typing import Any

from pymysql.connections import Connection
from pymysql.err import MySQLError, OperationalError

from authsvc.infra import deadlines
from authsvc.infra.hosts import Hosts, Place

NOT_READY = 1047
"""A node of a Galera cluster is up, and cannot be worked with."""

_CANNOT_CONNECT = 2003
_REFUSED_EVERYWHERE = frozenset({1044, 1045, 1049, 1698})
"""The user, the password or the database's name is wrong: another host would say the same."""
_SHORTEST_WAIT = 0.05
_SHORTEST_COMMIT = 1.0
_LONGEST_PROBE = 1.0
_EVIDENCE_SECONDS = 0.9
"""How long a server must have been silent, for others not to wait for it."""

_ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
_KNOWN = (
    "SHOW SESSION VARIABLES WHERE Variable_name IN"
    " ('wsrep_sync_wait', 'wsrep_on', 'idle_transaction_timeout')"
)
_IDLE_SECONDS = 10
"""After so long the server ends a transaction of a client that has gone, and frees its locks."""
_CAUSAL_READS_AND_INSERTS = 1 | 4
"""A Galera node that lags catches up before it reads, and before it says what is taken."""


class BoundedConnection(Connection):
    """A connection whose every wait ends with the request's budget at the latest.

    Args:
        place: where the server is.
        connect_seconds: for the connection to be made, and to be greeted.
        read_seconds: to wait for each answer.
        options: pymysql's others.
    """

    _sock: socket.socket

    def __init__(
        self, place: Place, connect_seconds: float, read_seconds: float, **options: Any
    ) -> None:
        self.place = place
        self._longest_read = read_seconds
        super().__init__(
            **options
            | {"host": place.host, "port": place.port}
            | {"connect_timeout": connect_seconds, "read_timeout": connect_seconds}
        )

    def query(self, sql: Any, unbuffered: bool = False) -> Any:
        """Run a statement."""
        self._bound()
        return super().query(sql, unbuffered)

    def commit(self) -> None:
        """Commit; its answer is waited for a little even when the budget is spent."""
        self._bound(_SHORTEST_COMMIT)
        super().commit()

    def rollback(self) -> None:
        """Roll back."""
        self._bound()
        super().rollback()

    def be_patient(self, seconds: float) -> None:
        """Wait so long for answers from now on."""
        self._longest_read = seconds

    @property
    def is_stale(self) -> bool:
        """Whether the server has ended the connection, as a system call can tell."""
        if not self.open:
            return True
        poll = select.poll()
        poll.register(self._sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))

    @property
    def waited_long(self) -> bool:
        """Whether the wait for the last answer was long enough to call the server silent."""
        return bool(self._read_timeout >= _EVIDENCE_SECONDS)

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        """Share what all connections without options of their own need, where each had its own."""
        return super()._create_ssl_ctx(sslp) if sslp else _unverified()  # type: ignore[misc]

    def _bound(self, shortest: float = _SHORTEST_WAIT) -> None:
        self._read_timeout = max(shortest, min(self._longest_read, deadlines.left()))


@cache
def _unverified() -> ssl.SSLContext:
    """Return what encrypts if the server can, and takes any certificate, as is PyMySQL's default.

    PyMySQL's own would load the system's certificates for every connection: 0.8 MiB, and to no end.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Connector:
    """Makes connections, to whichever of the hosts works.

    Args:
        places: the hosts; none if the driver's options name a unix socket.
        connect_seconds: to connect to one.
        read_seconds: to wait for each answer.
        lock_seconds: to wait for a lock.
    """

    def __init__(
        self,
        places: tuple[Place, ...],
        connect_seconds: float,
        read_seconds: float,
        lock_seconds: int,
    ) -> None:
        self.hosts = Hosts(places or (Place("localhost"),), self._answers)
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._lock_seconds = lock_seconds
        self._options: dict[str, Any] = {}

    def connect(self, options: dict[str, Any]) -> BoundedConnection:
        """Connect to the first host that lets itself be worked with.

        Raises:
            pymysql.err.MySQLError: there is none.
        """
        self._options = options
        failure: MySQLError = OperationalError(_CANNOT_CONNECT, "The database is silent")
        for place in self.hosts.worth_trying():
            seconds = min(self._connect_seconds, deadlines.left())
            if seconds <= 0:
                break
            try:
                connection = self._open(place, seconds)
            except MySQLError as error:
                if error.args and error.args[0] in _REFUSED_EVERYWHERE:
                    raise
                self._note(place, silent=timed_out(error) and seconds >= _EVIDENCE_SECONDS)
                failure = error
            else:
                self.hosts.works(place)
                return connection
        raise failure

    def lost(self, connection: BoundedConnection, error: BaseException | None) -> None:
        """Learn from a connection that broke."""
        if timed_out(error):
            self._note(connection.place, silent=connection.waited_long)
        else:
            self.hosts.refuses(connection.place)

    def _note(self, place: Place, *, silent: bool) -> None:
        if silent:
            self.hosts.is_silent(place)
        else:
            self.hosts.refuses(place)

    def _answers(self, place: Place) -> bool | None:
        seconds = min(self._connect_seconds, _LONGEST_PROBE)
        try:
            self._open(place, seconds).close()
        except MySQLError as error:
            return False if timed_out(error) else None
        return True

    def _open(self, place: Place, seconds: float) -> BoundedConnection:
        connection = BoundedConnection(place, seconds, self._read_seconds, **self._options)
        try:
            with deadlines.within(seconds), connection.cursor() as cursor:
                cursor.execute(_ISOLATION)
                cursor.execute(_KNOWN)
                known: dict[str, str] = dict(cursor.fetchall())
                cursor.execute("SET " + ", ".join(self._wishes(known)))
                if known.get("wsrep_on") == "ON":
                    cursor.execute("SELECT 1")
        except MySQLError:
            connection.close()
            raise
        return connection

    def _wishes(self, known: dict[str, str]) -> list[str]:
        wishes = {
            "innodb_lock_wait_timeout": self._lock_seconds,
            "idle_transaction_timeout": _IDLE_SECONDS,
            "wsrep_sync_wait": _CAUSAL_READS_AND_INSERTS,
        }
        everywhere = "innodb_lock_wait_timeout"
        return [
            f"SESSION {name} = {value}"
            for name, value in wishes.items()
            if name == everywhere or name in known
        ]


def timed_out(error: BaseException | None) -> bool:
    """Tell whether an exception came of a time-out."""
    while error is not None:
        if isinstance(error, TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False
