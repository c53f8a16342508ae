"""Round trips, statements and commands of one operation, counted from outside the process."""

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pymysql

from tests.support.processes import HOST

# What PyMySQL or SQLAlchemy can send; SHOW STATUS, which counts, is not among them.
STATEMENTS = (
    *("select", "insert", "update", "delete", "begin", "commit", "rollback"),
    *("set_option", "admin_commands", "savepoint", "release_savepoint"),
)


class CountingProxy:
    """Passes everything on, and counts how often one end waits for the other's answer.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.round_trips = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection((HOST, self._server_port))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            turn = _Turn(self)
            for source, target, count in (
                (client, server, turn.asked),
                (server, client, turn.told),
            ):
                threading.Thread(target=_pass_on, args=(source, target, count), daemon=True).start()


class _Turn:
    """Whose turn it is on a connection."""

    def __init__(self, proxy: CountingProxy) -> None:
        self._proxy = proxy
        self._waits = False

    def asked(self) -> None:
        if not self._waits:
            self._waits = True
            self._proxy.round_trips += 1

    def told(self) -> None:
        self._waits = False


def _pass_on(source: socket.socket, target: socket.socket, count: Callable[[], None]) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            count()
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


class Counters:
    """All that is counted, by name; what a difference shows is what happened between.

    Args:
        mariadb, redis: connections to the servers themselves.
        sql, store: the proxies through which the application reaches them.
    """

    def __init__(self, mariadb: Any, redis: Any, sql: CountingProxy, store: CountingProxy) -> None:
        self._mariadb: pymysql.Connection[Any] = mariadb
        self._redis = redis
        self._sql = sql
        self._store = store

    def of(self, work: Callable[[], object]) -> dict[str, int]:
        """Returns name → how many of it the work took; what it took none of is left out."""
        before = self._read()
        work()
        after = self._read()
        return {name: n for name in after if (n := after[name] - before.get(name, 0)) > 0}

    def _read(self) -> dict[str, int]:
        counts = {
            "SQL round trips": self._sql.round_trips,
            "Redis round trips": self._store.round_trips,
        }
        with self._mariadb.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Com\\_%'")
            for name, value in cursor.fetchall():
                if (statement := name.removeprefix("Com_")) in STATEMENTS:
                    counts[f"SQL {statement}"] = int(value)
        for name, stats in self._redis.info("commandstats").items():
            command = re.sub(r"^cmdstat_", "", name).upper()
            if command not in ("INFO", "COMMAND", "CLIENT|SETINFO", "HELLO"):
                counts[f"Redis {command}"] = stats["calls"]
        return counts


def totals(counts: dict[str, int]) -> dict[str, int]:
    """Returns the two round trips, and the statements that are no PING."""
    return {
        "Redis round trips": counts.get("Redis round trips", 0),
        "SQL round trips": counts.get("SQL round trips", 0),
        "SELECT": counts.get("SQL select", 0),
        "INSERT": counts.get("SQL insert", 0),
        "other statements": sum(
            number
            for name, number in counts.items()
            if name.startswith("SQL ")
            and name not in ("SQL round trips", "SQL select", "SQL insert")
        ),
    }
