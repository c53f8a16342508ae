"""The users, in SQL."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Update, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from authsvc.core.errors import EmailTaken, UsernameTaken, UsersUnavailable
from authsvc.core.ports import Change, Note, UserQuery, no_note
from authsvc.core.users import NewUser, User
from authsvc.infra.connections import KEY, CommitUndecided, Lookup, commit, connected, fetch
from authsvc.infra.database import UserRow
from authsvc.infra.journal import Doubt
from authsvc.infra.notes import store_note
from authsvc.infra.repeating import Passing, looked_up, repeated
from authsvc.infra.undo import journal
from authsvc.infra.user_changes import SELECT_USER, edit_once, user_of

T = TypeVar("T")

_NAMED = UserRow.username_key == KEY
_REACHED = (UserRow.email_key == KEY) & UserRow.email_verified
_BY_ID = Lookup(SELECT_USER.where(UserRow.id == KEY))
_BY_USERNAME = Lookup(SELECT_USER.where(_NAMED))
_BY_EMAIL = Lookup(SELECT_USER.where(UserRow.email_key == KEY))
_BY_LOGIN = Lookup(SELECT_USER.where(_NAMED | _REACHED).add_columns(_NAMED))


class SqlUsers:
    """Meets `authsvc.core.ports.Users`."""

    def add(
        self,
        new_user: NewUser,
        password_hash: str,
        finish: Callable[[User], T],
        note: Callable[[User, User | None], Note] = no_note,
        by: int | None = None,
    ) -> tuple[User, T]:
        """Store a user together with its note and with what `finish` does, or nothing of it."""
        return repeated(lambda: _add_once(new_user, password_hash, finish, note, by))

    def by_username_key(self, key: str) -> User | None:
        """Return the user with this folded name."""
        return _one(_BY_USERNAME(key))

    def by_login_key(self, key: str) -> User | None:
        """Return the user with this folded name, else the one with this verified address."""
        rows = _BY_LOGIN(key)
        best = max(rows, key=lambda row: bool(row[-1]), default=None)
        return None if best is None else user_of(best[:-1])

    def by_email_key(self, key: str) -> User | None:
        """Return the user with this folded e-mail address, verified or not."""
        return _one(_BY_EMAIL(key))

    def by_id(self, user_id: int) -> User | None:
        """Return the user with this id."""
        return _one(_BY_ID(user_id))

    def find(self, query: UserQuery) -> list[User]:
        """Return the users that are asked for."""
        wanted = SELECT_USER.where(UserRow.id > query.after_id)
        if query.prefix:
            wanted = wanted.where(
                UserRow.username_key.startswith(query.prefix, autoescape=True)
                | UserRow.email_key.startswith(query.prefix, autoescape=True)
            )
        if query.permission is not None:
            wanted = wanted.where(UserRow.permission == query.permission)
        if query.disabled is not None:
            wanted = wanted.where(UserRow.disabled == query.disabled)
        return [user_of(row) for row in fetch(wanted.order_by(UserRow.id).limit(query.limit))]

    def replace_hash(self, user: User, password_hash: str) -> None:
        """Store another hash, unless the user's hash changed since `user` was read."""
        unchanged = (UserRow.id == user.id) & (UserRow.password_hash == user.password_hash)
        renewal = update(UserRow).where(unchanged).values(password_hash=password_hash)
        repeated(lambda: _write(renewal))

    def edit(
        self, user_id: int, decide: Callable[[User, User | None], Change], by: int | None = None
    ) -> User | None:
        """Change a user as decided on what is stored now, while nobody else changes it."""
        return repeated(lambda: edit_once(user_id, decide, by))


def _one(rows: Sequence[Row[Any]]) -> User | None:
    return user_of(rows[0]) if rows else None


def _add_once(
    new_user: NewUser,
    password_hash: str,
    finish: Callable[[User], T],
    note: Callable[[User, User | None], Note],
    by: int | None,
) -> tuple[User, T]:
    with connected(writes=True) as connection:
        creator = None if by is None else _locked(connection, by)
        try:
            user = _insert(connection, new_user, password_hash)
        except IntegrityError:
            connection.rollback()
            raise _taken(connection, new_user) from None
        store_note(connection, note(user, creator))
        finished = finish(user)
        journal().begin(doubt := Doubt(user.id, password_hash))
        failure = _commit(connection)
    _decide(doubt, failure)
    return user, finished


def _commit(connection: Connection) -> DBAPIError | CommitUndecided | None:
    """Commit, and return what kept it from being told to be done."""
    try:
        commit(connection)
    except (DBAPIError, CommitUndecided) as failure:
        return failure
    return None


def _decide(doubt: Doubt, failure: DBAPIError | CommitUndecided | None) -> None:
    """Say whether a user was stored; one of whom that is not known is undone, sooner or later."""
    if isinstance(failure, CommitUndecided) and not looked_up(lambda: _is_stored(doubt)):
        journal().give_up(doubt)
        raise failure
    journal().settle(doubt)
    if isinstance(failure, DBAPIError):
        raise UsersUnavailable from failure


def _is_stored(doubt: Doubt) -> bool:
    """Tell whether a user is on disk; the locking read waits for a transaction under way."""
    this = (UserRow.id == doubt.user_id) & (UserRow.password_hash == doubt.password_hash)
    return bool(fetch(select(UserRow.id).where(this).with_for_update()))


def _write(statement: Update) -> None:
    with connected(writes=True) as connection:
        connection.execute(statement)
        commit(connection)


def _locked(connection: Connection, user_id: int) -> User | None:
    row = connection.execute(SELECT_USER.where(UserRow.id == user_id).with_for_update()).first()
    return None if row is None else user_of(row)


def _insert(connection: Connection, new_user: NewUser, password_hash: str) -> User:
    shown: dict[str, Any] = {
        "username": new_user.username,
        "email": new_user.email,
        "permission": new_user.permission,
        "data": new_user.data,
        "email_verified": new_user.email_verified,
        "disabled": new_user.disabled,
        "password_hash": password_hash,
    }
    keys = {"username_key": new_user.username_key, "email_key": new_user.email_key}
    now = datetime.now(UTC).replace(microsecond=0)
    result = connection.execute(insert(UserRow).values(**shown, **keys, created_at=now))
    return User(id=result.lastrowid, **shown, created_at=int(now.timestamp()))


def _taken(connection: Connection, new_user: NewUser) -> Exception:
    """Name the key that another user holds: the name's first, whichever the driver named."""
    if _holds(connection, UserRow.username_key == new_user.username_key):
        return UsernameTaken()
    if new_user.email_key and _holds(connection, UserRow.email_key == new_user.email_key):
        return EmailTaken()
    return Passing()


def _holds(connection: Connection, condition: ColumnElement[bool]) -> bool:
    return connection.execute(select(UserRow.id).where(condition)).first() is not None
