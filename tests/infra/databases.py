"""The users in SQL, on a database of one's own, outside any service."""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from argon2 import PasswordHasher
from flask import Flask
from flask_migrate import upgrade

from authsvc.core.users import NewUser, User, fold
from authsvc.infra import connections, database, migrations, undo
from authsvc.infra.connections import PoolOptions
from authsvc.infra.users import SqlUsers

T = TypeVar("T")

PATIENT = PoolOptions(
    size=8,
    overflow=4,
    wait=3,
    recycle=1800,
    connect_timeout=2,
    read_timeout=4,
    write_timeout=4,
)
HASTY = PoolOptions(
    size=4,
    overflow=0,
    wait=1,
    recycle=1800,
    connect_timeout=1,
    read_timeout=2,
    write_timeout=1,
)


@contextmanager
def connected_to(
    url: str, pool: PoolOptions = PATIENT, undo_folder: Path | None = None
) -> Iterator[Flask]:
    """Be an application that has this database; its schema is left as it is."""
    app = Flask("authsvc", static_folder=None)
    database.install(app, url, pool)
    migrations.install(app)
    with tempfile.TemporaryDirectory() as folder, app.app_context():
        undo.install(app, url, lambda: Path(folder if undo_folder is None else undo_folder))
        try:
            yield app
        finally:
            connections.of(app).dispose()
            undo.of(app).close()


@contextmanager
def migrated(url: str, pool: PoolOptions = PATIENT) -> Iterator[Flask]:
    """Be an application that has this database, brought to the newest schema."""
    with connected_to(url, pool) as app:
        upgrade()
        yield app


def sqlite_url(folder: Path) -> str:
    """Return the address of a database in a file of this folder."""
    return f"sqlite:///{folder / 'users.sqlite3'}"


class Crowd:
    """Threads that each stand in an application's context."""

    def __init__(self, app: Flask | None, size: int) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(size)

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def begin(self, work: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Let one of the threads do this work."""
        return self._pool.submit(self._inside, work, arguments)

    def _inside(self, work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        if self._app is None:
            return work(*arguments)
        with self._app.app_context():
            return work(*arguments)


def new_user(name: str, email: str | None = None, permission: int = 0) -> NewUser:
    """Return a user to be stored, with the keys that the core would give it."""
    return NewUser(
        username=name,
        username_key=fold(name),
        email=email,
        email_key=None if email is None else fold(email),
        permission=permission,
        password="",
    )


def add_administrator(name: str, password: str) -> None:
    """Store an administrator, as an operator does, with a hash that costs nothing."""
    cheap = PasswordHasher(memory_cost=8, time_cost=1, parallelism=1)
    SqlUsers().add(new_user(name, permission=1), cheap.hash(password), nothing_more)


def nothing_more(_: User) -> None:
    """Do nothing before the user is committed."""
