"""A user as a row, and what becomes of it in one transaction."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from authsvc.core.errors import (
    EmailTaken,
    InvalidCode,
    InvalidMailToken,
    LastAdministrator,
    UnknownUser,
)
from authsvc.core.letters import VERIFY
from authsvc.core.ports import Change
from authsvc.core.users import User, fold
from authsvc.infra.connections import CommitUndecided, commit, connected, fetch
from authsvc.infra.database import AuditRow, LetterRow, MailTokenRow, RecoveryCodeRow, UserRow
from authsvc.infra.notes import store_note, void_mail_tokens
from authsvc.infra.repeating import looked_up

_USER = (
    UserRow.id,
    UserRow.username,
    UserRow.email,
    UserRow.permission,
    UserRow.data,
    UserRow.password_hash,
    UserRow.email_verified,
    UserRow.disabled,
    UserRow.epoch,
    UserRow.totp_secret,
    UserRow.totp_on,
    UserRow.totp_step,
    UserRow.created_at,
)
SELECT_USER = select(*_USER)
_FIELDS = [column.key for column in _USER]
_TRUTHS = ("email_verified", "disabled", "totp_on")
_EDITABLE = (
    "email",
    "permission",
    "data",
    "password_hash",
    "email_verified",
    "disabled",
    "epoch",
    "totp_secret",
    "totp_on",
    "totp_step",
)


def user_of(row: Sequence[Any]) -> User:
    """Return the user of a row of `SELECT_USER`, as SQLAlchemy or the driver alone gives it."""
    values: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
    for name in _TRUTHS:
        values[name] = bool(values[name])
    created_at: datetime | str = values.pop("created_at")
    if isinstance(created_at, str):
        created_at = datetime.fromisoformat(created_at)
    return User(**values, created_at=int(created_at.replace(tzinfo=UTC).timestamp()))


def edit_once(
    user_id: int, decide: Callable[[User, User | None], Change], by: int | None
) -> User | None:
    """Do in one transaction what `authsvc.core.ports.Users.edit` promises."""
    try:
        with connected(writes=True) as connection:
            before, change = _decided(connection, user_id, decide, by)
            if change.leaves_administrator is not None:
                _require_another(connection, user_id, change.leaves_administrator)
            _spend(connection, user_id, change)
            _store(connection, before, change.after)
            entries = store_note(connection, change.note)
            commit(connection)
    except CommitUndecided:
        if not looked_up(lambda: _is_stored(before, change, entries)):
            raise
    return change.after


def _decided(
    connection: Connection,
    user_id: int,
    decide: Callable[[User, User | None], Change],
    by: int | None,
) -> tuple[User, Change]:
    ids = {user_id} if by is None else {user_id, by}
    locked = SELECT_USER.where(UserRow.id.in_(ids)).order_by(UserRow.id).with_for_update()
    users = {row.id: user_of(row) for row in connection.execute(locked)}
    if user_id not in users:
        raise UnknownUser
    before = users[user_id]
    return before, decide(before, users.get(by) if by is not None else None)


def _is_stored(before: User, change: Change, entries: list[int]) -> bool:
    """Tell whether a change is on disk, as far as it left anything to tell it by.

    The locking reads wait for a transaction that is still being committed. Ids of the
    audit log are never given twice.
    """
    if entries:
        return bool(fetch(select(AuditRow.id).where(AuditRow.id == entries[0]).with_for_update()))
    rows = fetch(SELECT_USER.where(UserRow.id == before.id).with_for_update())
    now = user_of(rows[0]) if rows else None
    return now == change.after and now != before


def _require_another(connection: Connection, user_id: int, permission: int) -> None:
    able = (UserRow.permission >= permission) & ~UserRow.disabled
    wanted = select(UserRow.id).where(able).order_by(UserRow.id).with_for_update()
    if set(connection.scalars(wanted)) <= {user_id}:
        raise LastAdministrator


def _spend(connection: Connection, user_id: int, change: Change) -> None:
    if change.spends_mail_token is not None:
        token = delete(MailTokenRow).where(
            MailTokenRow.token_hash == change.spends_mail_token, MailTokenRow.user_id == user_id
        )
        if not connection.execute(token).rowcount:
            raise InvalidMailToken
    if change.spends_recovery_code is not None:
        code = delete(RecoveryCodeRow).where(
            RecoveryCodeRow.code_hash == change.spends_recovery_code,
            RecoveryCodeRow.user_id == user_id,
        )
        if not connection.execute(code).rowcount:
            raise InvalidCode
    if change.drops_mail_tokens:
        void_mail_tokens(connection, MailTokenRow.user_id == user_id)
        waiting = (LetterRow.user_id == user_id) & (LetterRow.kind == VERIFY)
        connection.execute(delete(LetterRow).where(waiting))
    if change.recovery_codes is not None:
        connection.execute(delete(RecoveryCodeRow).where(RecoveryCodeRow.user_id == user_id))
        for code_hash in change.recovery_codes:
            connection.execute(insert(RecoveryCodeRow).values(user_id=user_id, code_hash=code_hash))


def _store(connection: Connection, before: User, after: User | None) -> None:
    if after is None:
        connection.execute(delete(UserRow).where(UserRow.id == before.id))
        return
    values = {
        name: getattr(after, name)
        for name in _EDITABLE
        if getattr(after, name) != getattr(before, name)
    }
    if "email" in values:
        values["email_key"] = None if after.email is None else fold(after.email)
    if not values:
        return
    try:
        connection.execute(update(UserRow).where(UserRow.id == before.id).values(**values))
    except IntegrityError:
        raise EmailTaken from None
