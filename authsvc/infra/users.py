"""The users, in SQL."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from authsvc.core.errors import EmailTaken, UsernameTaken, UsersUnavailable
from authsvc.core.users import NewUser, User
from authsvc.infra.database import UserRow, connected, is_worth_repeating, lost_connection

T = TypeVar("T")

_USER = (
    UserRow.id,
    UserRow.username,
    UserRow.email,
    UserRow.permission,
    UserRow.data,
    UserRow.password_hash,
)
_BY_ID = select(*_USER)
_NO_DATA = "{}"
_TRIES = 3
_DECISION_SECONDS = 3.0


class _Undecided(Exception):
    """A key was taken, and is not any more."""


class SqlUsers:
    """Meets `authsvc.core.ports.Users`."""

    def add(
        self, new_user: NewUser, password_hash: str, finish: Callable[[User], T]
    ) -> tuple[User, T]:
        """Store a user together with what `finish` does, or neither."""
        for _ in range(_TRIES):
            try:
                return _add_once(new_user, password_hash, finish)
            except _Undecided:
                continue
            except UsersUnavailable as error:
                if not is_worth_repeating(error.__cause__):
                    raise
        raise UsersUnavailable

    def by_username_key(self, key: str) -> User | None:
        """Return the user with this folded name."""
        with connected() as connection:
            return _user(connection.execute(_BY_ID.where(UserRow.username_key == key)).first())

    def by_id(self, user_id: int) -> User | None:
        """Return the user with this id."""
        with connected() as connection:
            return _user(connection.execute(_BY_ID.where(UserRow.id == user_id)).first())

    def replace_hash(self, user: User, password_hash: str) -> None:
        """Store another hash, unless the user's hash changed since `user` was read."""
        unchanged = (UserRow.id == user.id) & (UserRow.password_hash == user.password_hash)
        with connected(writes=True) as connection:
            connection.execute(update(UserRow).where(unchanged).values(password_hash=password_hash))
            connection.commit()


def _add_once(new_user: NewUser, password_hash: str, finish: Callable[[User], T]) -> tuple[User, T]:
    with connected(writes=True) as connection:
        try:
            user = _insert(connection, new_user, password_hash)
        except IntegrityError:
            connection.rollback()
            raise _taken(connection, new_user) from None
        finished = finish(user)
        _commit(connection, user)
    return user, finished


def _insert(connection: Connection, new_user: NewUser, password_hash: str) -> User:
    shown: dict[str, Any] = {
        "username": new_user.username,
        "email": new_user.email,
        "permission": new_user.permission,
        "data": _NO_DATA,
        "password_hash": password_hash,
    }
    keys = {"username_key": new_user.username_key, "email_key": new_user.email_key}
    result = connection.execute(insert(UserRow).values(**shown, **keys))
    return User(id=result.lastrowid, **shown)


def _taken(connection: Connection, new_user: NewUser) -> Exception:
    """Name the key that another user holds: the name's first, whichever the driver named."""
    if _holds(connection, UserRow.username_key == new_user.username_key):
        return UsernameTaken()
    if new_user.email_key and _holds(connection, UserRow.email_key == new_user.email_key):
        return EmailTaken()
    return _Undecided()


def _commit(connection: Connection, user: User) -> None:
    """Commit; if the answer is lost, find out what became of it before anything is said."""
    try:
        connection.commit()
    except DBAPIError as error:
        if not lost_connection(error) or not _was_stored(user):
            raise


def _was_stored(user: User) -> bool:
    """Tell, from a new connection, whether a user is on disk.

    The locking read waits for a transaction that is still being committed.
    """
    this = (UserRow.id == user.id) & (UserRow.password_hash == user.password_hash)
    deadline = time.monotonic() + _DECISION_SECONDS
    while True:
        try:
            with connected() as connection:
                return (
                    connection.execute(select(UserRow.id).where(this).with_for_update()).first()
                    is not None
                )
        except UsersUnavailable:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)


def _holds(connection: Connection, condition: ColumnElement[bool]) -> bool:
    return connection.execute(select(UserRow.id).where(condition)).first() is not None


def _user(row: Row[*tuple[Any, ...]] | None) -> User | None:
    return None if row is None else User(*row)
