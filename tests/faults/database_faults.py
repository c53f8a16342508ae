"""A database that is there, and in whose way something stands."""

import threading
import time
from contextlib import ExitStack, closing, suppress

import pymysql
from pymysql.connections import Connection
from pymysql.err import MySQLError, OperationalError

from tests.faults.trial import Fault
from tests.faults.world import OPERATOR, OPERATOR_PASSWORD
from tests.support.mariadb import PASSWORD, USER, MariaDB
from tests.support.processes import HOST

FEW = 10
TRIES = 20
TOO_MANY = 1040
WEIGHT = 2000
"""Rows that our side of a deadlock has written, so that the database ends the service's side."""


def connect(mariadb: MariaDB, database: str | None = None, user: str = USER) -> Connection:
    """Return a connection of our own, in no transaction."""
    password = PASSWORD if user == USER else OPERATOR_PASSWORD
    return pymysql.connect(
        host=HOST,
        port=mariadb.port,
        user=user,
        password=password,
        database=database,
        connect_timeout=5,
        read_timeout=15,
        autocommit=True,
    )


def run(connection: Connection, *statements: str) -> None:
    """Run statements one after the other."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


class TooManyConnections(Fault):
    """Others take every connection that MariaDB gives, also those that the service had."""

    name = "too many connections"
    seconds = 4.0

    def __init__(self, mariadb: MariaDB) -> None:
        self._mariadb = mariadb
        self._taken = ExitStack()
        self._mine = connect(mariadb)
        [(self._usual,)] = self._rows("SELECT @@max_connections")

    def strike(self) -> None:
        run(self._mine, f"SET GLOBAL max_connections = {FEW}")
        self._drop_others()
        while self._take_one():
            pass

    def mend(self) -> float:
        run(self._mine, f"SET GLOBAL max_connections = {self._usual}")
        self._taken.close()
        self._mine.close()
        return time.monotonic()

    def _drop_others(self) -> None:
        for (number,) in self._rows(
            f"SELECT id FROM information_schema.processlist WHERE user = '{OPERATOR}'"
        ):
            with suppress(MySQLError):
                run(self._mine, f"KILL {number}")
            self._take_one()

    def _take_one(self) -> bool:
        try:
            self._taken.enter_context(closing(connect(self._mariadb, user=OPERATOR)))
        except OperationalError as error:
            if error.args[0] != TOO_MANY:
                raise
            return False
        return True

    def _rows(self, query: str) -> tuple[tuple[object, ...], ...]:
        with self._mine.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()


class Locked(Fault):
    """Another connection holds locks, for longer than anybody waits for one."""

    seconds = 6.0

    def __init__(self, name: str, mariadb: MariaDB, database: str, *statements: str) -> None:
        self.name = name
        self._statements = statements
        self._mine = connect(mariadb, database)

    def strike(self) -> None:
        for _ in range(TRIES):
            with suppress(OperationalError):  # a deadlock with the traffic: nothing is held now
                run(self._mine, *self._statements)
                return
        raise TimeoutError(f"{TRIES} times, no lock was given")

    def mend(self) -> float:
        self._mine.close()
        return time.monotonic()


def table_locked(mariadb: MariaDB, database: str) -> Locked:
    """Nobody else reads or writes the table of users."""
    return Locked("LOCK TABLES held for 6 s", mariadb, database, "LOCK TABLES users WRITE")


def rows_and_gaps_locked(mariadb: MariaDB, database: str) -> Locked:
    """Nobody else changes a user, or adds one in any gap between two."""
    return Locked(
        "SELECT … FOR UPDATE of all rows and gaps held for 6 s",
        mariadb,
        database,
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "BEGIN",
        "SELECT username_key FROM users ORDER BY username_key FOR UPDATE",
        "SELECT id FROM users ORDER BY id FOR UPDATE",
    )


class Deadlocks(Fault):
    """Deadlocks are made on purpose, again and again, and the service's side is ended each time."""

    name = "deadlocks"
    seconds = 5.0
    is_felt = None  # what a deadlock undid is repeated

    def __init__(self, mariadb: MariaDB, database: str) -> None:
        self._mariadb = mariadb
        self._mine = connect(mariadb, database)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._make)
        run(self._mine, "CREATE OR REPLACE TABLE weights (number INT)")

    @property
    def made(self) -> int:
        """How many deadlocks MariaDB has ended since it was started."""
        counter = "information_schema.global_status WHERE variable_name = 'INNODB_DEADLOCKS'"
        return int(self._mariadb.query(f"SELECT variable_value FROM {counter}")[0][0])

    def strike(self) -> None:
        self._thread.start()

    def mend(self) -> float:
        self._over.set()
        self._thread.join(20)
        self._mine.close()
        return time.monotonic()

    def _make(self) -> None:
        while not self._over.wait(0.1):
            with suppress(OperationalError):
                self._make_one()
            run(self._mine, "ROLLBACK")

    def _make_one(self) -> None:
        """Hold what a sign-up writes last, let sign-ups come, and ask for what they wrote first."""
        run(
            self._mine,
            "BEGIN",
            f"INSERT INTO weights SELECT seq FROM seq_1_to_{WEIGHT}",
            "SELECT id FROM audit_log ORDER BY id DESC LIMIT 5 FOR UPDATE",
        )
        time.sleep(0.2)
        run(self._mine, "SELECT id FROM users ORDER BY id DESC LIMIT 50 FOR UPDATE")
