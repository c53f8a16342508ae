"""The migrations of the database, which only commands need, one process at a time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from flask_migrate import Migrate
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from authsvc.core.errors import UsersUnavailable
from authsvc.infra.connections import SQLITE, connected
from authsvc.infra.database import db
from authsvc.infra.wire import BoundedConnection

_FOLDER = Path(__file__).parent.parent / "migrations"
_TURN_SECONDS = 600
"""How long another process may take."""
_STEP_SECONDS = 3600.0
"""How long one statement may take: it may rebuild a large table."""
_LOCK = "concat('authsvc migrations ', md5(database()))"


def install(app: Flask) -> None:
    """Let `flask db` and `flask migrate` find the migrations."""
    Migrate(app, db, directory=str(_FOLDER))


@contextmanager
def turn() -> Iterator[Connection]:
    """Lend a connection, once no other process migrates the database.

    Raises:
        UsersUnavailable: the database does not answer, or others took longer than 10 minutes.
    """
    with connected(writes=True) as connection:
        if connection.dialect.name == SQLITE:
            _lock_file(connection)
            yield connection
            connection.commit()
            return
        _lock_database(connection)
        yield connection
        connection.commit()


def _lock_file(connection: Connection) -> None:
    """Begin a transaction, which nobody else can until it ends."""
    ends = time.monotonic() + _TURN_SECONDS
    while True:
        try:
            connection.begin()
        except OperationalError:
            if time.monotonic() > ends:
                raise
        else:
            return


def _lock_database(connection: Connection) -> None:
    """Take a lock that ends with the connection, which no pool is given back."""
    connection.detach()
    driver = connection.connection.dbapi_connection
    if isinstance(driver, BoundedConnection):
        driver.be_patient(_STEP_SECONDS)
    locked = connection.execute(text(f"SELECT GET_LOCK({_LOCK}, {_TURN_SECONDS})")).scalar()
    connection.commit()
    if not locked:
        raise UsersUnavailable
