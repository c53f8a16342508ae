"""What users do with their own account."""

import logging
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Final

from authsvc.core.accounts import Policy
from authsvc.core.audit import DELETED, EDITED, PASSWORD_CHANGED, Entry
from authsvc.core.audit import EMAIL_CHANGED as CHANGED_EMAIL
from authsvc.core.clients import Client
from authsvc.core.confirming import confirm_password, require_same_password
from authsvc.core.errors import (
    InvalidToken,
    MailOff,
    SessionsUnavailable,
    UnknownUser,
    WrongPassword,
)
from authsvc.core.guessing import Guard
from authsvc.core.letters import EMAIL_CHANGED, VERIFY, Letter
from authsvc.core.letters import PASSWORD_CHANGED as CHANGED_PASSWORD
from authsvc.core.passwords import PasswordRule
from authsvc.core.ports import Change, Note, PasswordHasher, Users
from authsvc.core.sessions import Identity, Sessions
from authsvc.core.users import User, check_data, check_email

_log = logging.getLogger(__name__)


class Unchanged(Enum):
    """Says that a field stays as it is, where None is a value."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


class Profile:
    """Edit and delete one's own account, and change its password.

    Args:
        users: the stored users.
        hasher: password hashes.
        rule: what a password may be.
        sessions: ended by a new password and by a deletion.
        guard: counts wrong passwords.
        policy: what the operator decided.
    """

    def __init__(
        self,
        users: Users,
        hasher: PasswordHasher,
        rule: PasswordRule,
        sessions: Sessions,
        guard: Guard,
        policy: Policy,
    ) -> None:
        self._users = users
        self._hasher = hasher
        self._rule = rule
        self._sessions = sessions
        self._guard = guard
        self._policy = policy

    def update(
        self,
        identity: Identity,
        client: Client,
        *,
        data: str | Unchanged = UNCHANGED,
        email: str | Unchanged | None = UNCHANGED,
        password: str | None = None,
    ) -> User:
        """Store other data, ask a new address to be verified, or drop the address.

        A new address, also another typing of the stored one, is only written to; it takes
        the old one's place when its owner answers. None drops the address at once.

        Args:
            identity: whose account.
            client: from where.
            data: JSON text.
            email: the new address; None for none.
            password: confirms the change of the address; not looked at without one.

        Returns:
            The user as stored now.

        Raises:
            InvalidData, InvalidEmail
            MailOff: no mail is sent, so a new address could not be verified.
            WrongPassword: the address was given, and the password is missing or wrong.
            InvalidToken: the user is gone.
            TooManyAttempts, UsersUnavailable, SessionsUnavailable, Overloaded
        """
        user = identity.user
        if data is not UNCHANGED:
            check_data(data)
        if email is not UNCHANGED:
            self._check_address(user, email)
            self._confirm(user, password, client)

        def decide(stored: User, _: User | None) -> Change:
            if email is not UNCHANGED:
                require_same_password(stored, user)
            return self._updated(stored, client, data, email)

        return self._edit(user, decide) or user

    def confirm(self, identity: Identity, password: str, client: Client) -> None:
        """Do nothing, if the password is the user's; the try is counted as a guess.

        Raises:
            WrongPassword: it is not the user's.
            TooManyAttempts, SessionsUnavailable, Overloaded
        """
        self._confirm(identity.user, password, client)

    def change_password(self, identity: Identity, old: str, new: str, client: Client) -> None:
        """Set another password; all sessions end but this one, and all tokens of mails.

        Should the store of sessions fail then, this session may end as well.

        Raises:
            InvalidPassword: the new one breaks the rule, or is weak (`WeakPassword`).
            WrongPassword: the old one is not the user's.
            InvalidToken: the user is gone.
            TooManyAttempts, UsersUnavailable, SessionsUnavailable, Overloaded
        """
        user = identity.user
        self._rule.check_strict(new, user.username, user.email)
        with self._hasher.admission():
            self._confirm(user, old, client)
            new_hash = self._hasher.hash(new)

        def decide(stored: User, _: User | None) -> Change:
            require_same_password(stored, user)
            entry = Entry(PASSWORD_CHANGED, stored, stored, client)
            letter = Letter(CHANGED_PASSWORD, stored.id, None, client.language)
            return Change(
                replace(stored, password_hash=new_hash, epoch=stored.epoch + 1),
                Note((entry,), self._letters(stored, letter) if stored.email_verified else ()),
                drops_mail_tokens=True,
            )

        changed = self._edit(user, decide) or user
        self._end_sessions(user, lambda: self._sessions.survive(identity, changed))

    def delete(self, identity: Identity, password: str, client: Client) -> None:
        """Delete the account and end all its sessions.

        Raises:
            WrongPassword: it is not the user's.
            LastAdministrator: nobody would be left who can administer.
            InvalidToken: the user is gone.
            TooManyAttempts, UsersUnavailable, SessionsUnavailable, Overloaded
        """
        user, admin_permission = identity.user, self._policy.admin_permission
        self._confirm(user, password, client)

        def decide(stored: User, _: User | None) -> Change:
            require_same_password(stored, user)
            administers = self._policy.administers(stored)
            return Change(
                None,
                Note((Entry(DELETED, stored, stored, client),)),
                leaves_administrator=admin_permission if administers else None,
            )

        self._edit(user, decide)
        self._end_sessions(user, lambda: self._sessions.close_all(user.id))

    def _check_address(self, user: User, email: str | None) -> None:
        if email is None or email == user.email:
            return
        check_email(email)
        if not self._policy.sends_mail:
            raise MailOff

    def _confirm(self, user: User, password: str | None, client: Client) -> None:
        if password is None:
            raise WrongPassword
        confirm_password(self._hasher, self._guard, user, password, client)

    def _updated(
        self,
        stored: User,
        client: Client,
        data: str | Unchanged,
        email: str | Unchanged | None,
    ) -> Change:
        change = Change(stored)
        if data is not UNCHANGED and data != stored.data:
            entry = Entry(EDITED, stored, stored, client, {"fields": ["data"]})
            change = Change(replace(stored, data=data), Note((entry,)))
        if email is UNCHANGED or email == stored.email:
            return change
        if email is None:
            return self._and_no_address(change, stored, client)
        entry = Entry(EDITED, stored, stored, client, {"email": "asked"})
        letter = Letter(VERIFY, stored.id, email, client.language)
        return replace(change, note=Note((*change.note.entries, entry), (letter,)))

    def _and_no_address(self, change: Change, stored: User, client: Client) -> Change:
        entry = Entry(CHANGED_EMAIL, stored, stored, client, {"email": None})
        letter = Letter(EMAIL_CHANGED, stored.id, stored.email, client.language)
        return replace(
            change,
            after=replace(change.after or stored, email=None, email_verified=False),
            note=Note((*change.note.entries, entry), self._letters(stored, letter)),
            drops_mail_tokens=True,
        )

    def _letters(self, user: User, letter: Letter) -> tuple[Letter, ...]:
        """Return the letter, if mail is sent and the user has an address."""
        return (letter,) if self._policy.sends_mail and user.email is not None else ()

    def _edit(self, user: User, decide: Callable[[User, User | None], Change]) -> User | None:
        try:
            return self._users.edit(user.id, decide)
        except UnknownUser:
            raise InvalidToken from None

    def _end_sessions(self, user: User, end: Callable[[], None]) -> None:
        """End sessions that are over already: the user is gone, or is in another epoch."""
        try:
            end()
        except SessionsUnavailable:
            _log.warning("ended sessions of user %d are still stored", user.id)
