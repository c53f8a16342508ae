"""Administration: what those who may do so do to other users."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from authsvc.core.accounts import ORDINARY, Accounts, Policy
from authsvc.core.audit import (
    CREATED,
    DELETED,
    DISABLED,
    EDITED,
    ENABLED,
    LOGGED_OUT,
    PASSWORD_SET,
    TOTP_OFF,
    Entry,
)
from authsvc.core.clients import OPERATOR, Client
from authsvc.core.errors import (
    InvalidPermission,
    PermissionDenied,
    SecondFactorOff,
    SessionsUnavailable,
    UnknownUser,
)
from authsvc.core.newcomers import ImportingHasher, Newcomer, checked
from authsvc.core.passwords import PasswordRule
from authsvc.core.ports import Change, Note, UserQuery, Users
from authsvc.core.profile import UNCHANGED, Unchanged
from authsvc.core.sessions import Sessions
from authsvc.core.users import (
    NewUser,
    User,
    check_data,
    check_email,
    fold,
    normalise_username,
)

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Administration:
    """Find, create, edit and delete users on behalf of an administrator.

    The actor is an administrator, or None for an operator at the command line. Nobody
    edits a peer or anyone above, themselves included, and nobody grants more than they
    hold: both are decided on what is stored at the moment of the change. An operator may
    do everything but remove the last enabled administrator.

    Every change is in the audit log, or was not made.

    Args:
        users: the stored users.
        hasher: password hashes.
        rule: what a password may be.
        accounts: creates users.
        sessions: ended where a change asks for it.
        policy: what the operator decided.
    """

    def __init__(
        self,
        users: Users,
        hasher: ImportingHasher,
        rule: PasswordRule,
        accounts: Accounts,
        sessions: Sessions,
        policy: Policy,
    ) -> None:
        self._users = users
        self._hasher = hasher
        self._rule = rule
        self._accounts = accounts
        self._sessions = sessions
        self._policy = policy

    def find(self, query: UserQuery) -> list[User]:
        """Return the users that are asked for, whose prefix may be in any spelling.

        Raises:
            UsersUnavailable
        """
        return self._users.find(replace(query, prefix=fold(query.prefix)))

    def get(self, user_id: int) -> User:
        """Return a user.

        Raises:
            UnknownUser, UsersUnavailable
        """
        return _known(self._users.by_id(user_id))

    def named(self, username: str) -> User:
        """Return the user of this name, in any spelling.

        Raises:
            InvalidUsername: nobody can have such a name.
            UnknownUser, UsersUnavailable
        """
        return _known(self._users.by_username_key(fold(normalise_username(username))))

    def create(self, actor: User | None, new_user: NewUser, client: Client) -> User:
        """Store a user.

        Raises:
            PermissionDenied: the actor would grant more than they hold.
            UsernameTaken, EmailTaken, UsersUnavailable, Overloaded
        """
        return self._accounts.create_user(actor, new_user, client)

    def edit(
        self,
        actor: User | None,
        user_id: int,
        client: Client,
        *,
        permission: int | Unchanged = UNCHANGED,
        email: str | Unchanged | None = UNCHANGED,
        data: str | Unchanged = UNCHANGED,
        disabled: bool | Unchanged = UNCHANGED,
    ) -> User:
        """Change a user; a user who is disabled has no session any more.

        Args:
            actor: who changes.
            user_id: whom.
            client: from where.
            permission: at most the actor's.
            email: None removes it. Another address is not verified.
            data: JSON text.
            disabled: whether the user may do nothing.

        Returns:
            The user as stored now.

        Raises:
            InvalidPermission, InvalidEmail, InvalidData
            UnknownUser: there is none of this id.
            PermissionDenied: the actor may not edit this user, or grant as much.
            LastAdministrator: nobody would be left who can administer.
            EmailTaken, UsersUnavailable
        """
        _check_fields(permission, email, data)

        def decide(before: User, now: User | None) -> Change:
            self._require_rank(actor, now, before)
            if not isinstance(permission, Unchanged) and now and permission > now.permission:
                raise PermissionDenied
            after = replace(
                before,
                permission=_or(permission, before.permission),
                email=_or(email, before.email),
                data=_or(data, before.data),
                disabled=_or(disabled, before.disabled),
            )
            return self._change(before, _consequent(before, after), now, client)

        user = _known(self._users.edit(user_id, decide, _id_of(actor)))
        if disabled is True:
            self._close_all(user_id)
        return user

    def delete(self, actor: User | None, user_id: int, client: Client) -> None:
        """Delete a user.

        Raises:
            UnknownUser, PermissionDenied, LastAdministrator, UsersUnavailable
        """

        def decide(before: User, now: User | None) -> Change:
            self._require_rank(actor, now, before)
            note = Note((Entry(DELETED, now, before, client),))
            return Change(None, note, self._leaves_administrator(before, None))

        self._users.edit(user_id, decide, _id_of(actor))
        self._close_all(user_id)

    def log_out(self, actor: User | None, user_id: int, client: Client) -> None:
        """End all sessions of a user.

        Raises:
            UnknownUser, PermissionDenied, UsersUnavailable
        """

        def decide(before: User, now: User | None) -> Change:
            self._require_rank(actor, now, before)
            after = replace(before, epoch=before.epoch + 1)
            return Change(after, Note((Entry(LOGGED_OUT, now, before, client),)))

        self._users.edit(user_id, decide, _id_of(actor))
        self._close_all(user_id)

    def set_password(self, actor: User | None, user_id: int, password: str, client: Client) -> None:
        """Give a user another password, and end all their sessions.

        Raises:
            InvalidPassword: the password breaks the rule, whose strictness is not a choice.
            UnknownUser, PermissionDenied, UsersUnavailable, Overloaded
        """
        with self._hasher.admission():
            user = self.get(user_id)
            self._require_rank(actor, actor, user)
            self._rule.check_strict(password, user.username, user.email)
            password_hash = self._hasher.hash(password)

        def decide(before: User, now: User | None) -> Change:
            self._require_rank(actor, now, before)
            after = replace(before, password_hash=password_hash, epoch=before.epoch + 1)
            note = Note((Entry(PASSWORD_SET, now, before, client),))
            return Change(after, note, drops_mail_tokens=True)

        self._users.edit(user_id, decide, _id_of(actor))
        self._close_all(user_id)

    def remove_second_factor(self, actor: User | None, user_id: int, client: Client) -> None:
        """Ask a user, who lost what makes their codes, for none any more.

        Raises:
            UnknownUser, PermissionDenied, SecondFactorOff, UsersUnavailable
        """

        def decide(before: User, now: User | None) -> Change:
            self._require_rank(actor, now, before)
            if not before.totp_on:
                raise SecondFactorOff
            after = replace(before, totp_secret=None, totp_on=False, totp_step=0)
            return Change(after, Note((Entry(TOTP_OFF, now, before, client),)), recovery_codes=())

        self._users.edit(user_id, decide, _id_of(actor))

    def admit(self, newcomer: Newcomer) -> User:
        """Store a user of another service, as an operator.

        A password is held to the rule of a sign-up through a document; a hash is stored
        as it is, and replaced at the user's next log-in if it is not like today's.

        Raises:
            InvalidUsername, InvalidEmail, InvalidPassword, InvalidPermission, InvalidData
            InvalidPasswordHash: there is no password, and the hash cannot be verified here.
            UsernameTaken, EmailTaken, UsersUnavailable, Overloaded
        """
        new_user = checked(newcomer, self._accounts, self._hasher)
        password_hash = newcomer.password_hash or self._hasher.hash(new_user.password)
        user, _ = self._users.add(new_user, password_hash, _nothing_more, _note_of_admission)
        return user

    def _require_rank(self, actor: User | None, now: User | None, target: User) -> None:
        """Hold the actor, as stored now, to standing above the target."""
        if actor is None:
            return
        if now is None or not self._policy.administers(now):
            raise PermissionDenied
        if target.permission >= now.permission:
            raise PermissionDenied

    def _change(self, before: User, after: User, now: User | None, client: Client) -> Change:
        entries = []
        if details := _differences(before, after):
            entries.append(Entry(EDITED, now, before, client, details))
        if before.disabled != after.disabled:
            entries.append(Entry(DISABLED if after.disabled else ENABLED, now, before, client))
        return Change(
            after,
            Note(tuple(entries)),
            self._leaves_administrator(before, after),
            drops_mail_tokens=before.email != after.email or after.disabled,
        )

    def _leaves_administrator(self, before: User, after: User | None) -> int | None:
        removed = self._policy.administers(before) and not self._policy.administers(after)
        return self._policy.admin_permission if removed else None

    def _close_all(self, user_id: int) -> None:
        """Drop sessions that are over already, because the user's epoch is another."""
        try:
            self._sessions.close_all(user_id)
        except SessionsUnavailable:
            _log.warning("the ended sessions of user %d could not be dropped", user_id)


def _known(user: User | None) -> User:
    if user is None:
        raise UnknownUser
    return user


def _id_of(actor: User | None) -> int | None:
    return None if actor is None else actor.id


def _check_fields(
    permission: int | Unchanged, email: str | Unchanged | None, data: str | Unchanged
) -> None:
    if not isinstance(permission, Unchanged) and permission < ORDINARY:
        raise InvalidPermission
    if isinstance(email, str):
        check_email(email)
    if isinstance(data, str):
        check_data(data)


def _or(given: T | Unchanged, stored: T) -> T:
    return stored if isinstance(given, Unchanged) else given


def _consequent(before: User, after: User) -> User:
    """Add what follows: another address is not verified, who is disabled has no session."""
    if after.email != before.email:
        after = replace(after, email_verified=False)
    if after.disabled and not before.disabled:
        after = replace(after, epoch=before.epoch + 1)
    return after


def _differences(before: User, after: User) -> Mapping[str, Any]:
    """Tell which fields change; of a permission also from what to what."""
    fields = [
        name
        for name in ("permission", "email", "data")
        if getattr(before, name) != getattr(after, name)
    ]
    if "permission" in fields:
        return {"fields": fields, "permission": {"old": before.permission, "new": after.permission}}
    return {"fields": fields} if fields else {}


def _nothing_more(_: User) -> None:
    return None


def _note_of_admission(user: User, _: User | None) -> Note:
    details = {"permission": user.permission}
    return Note((Entry(CREATED, None, user, OPERATOR, details),))
