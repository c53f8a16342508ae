"""The use cases of accounts, and the order in which each does its work."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from authsvc.core.audit import CREATED, SIGNED_UP, Entry
from authsvc.core.clients import Client
from authsvc.core.errors import (
    InvalidCredentials,
    InvalidEmail,
    InvalidPermission,
    InvalidUsername,
    Overloaded,
    PermissionDenied,
    SecondFactorRequired,
    SignUpClosed,
    UserDisabled,
    UsersUnavailable,
)
from authsvc.core.guessing import Guard
from authsvc.core.letters import VERIFY, Letter
from authsvc.core.passwords import PasswordRule
from authsvc.core.ports import Note, PasswordHasher, Users
from authsvc.core.sessions import Sessions, Tokens
from authsvc.core.users import (
    NO_DATA,
    NewUser,
    User,
    check_data,
    check_email,
    fold,
    is_storable_password,
    normalise_username,
)

ORDINARY = 0
"""The permission of a user who signed up."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator decides about accounts.

    Args:
        admin_permission: the permission from which on a user is an administrator.
        strict_passwords: whether a sign-up through a document refuses weak passwords too.
        sends_mail: whether an address that is given is asked to be confirmed.
        sign_up_open: whether anyone may sign up where a document can close that.
    """

    admin_permission: int = 1
    strict_passwords: bool = False
    sends_mail: bool = False
    sign_up_open: bool = True

    def administers(self, user: User | None) -> bool:
        """Tell whether a user, if there is one, may administer others."""
        return user is not None and not user.disabled and user.permission >= self.admin_permission


class CodeCheck(Protocol):
    """What a log-in asks of the second factor."""

    def spend(self, user: User, code: str, client: Client) -> None:
        """Use up one of the user's one-time or recovery codes.

        Raises:
            InvalidCode: it is wrong, or was used before.
            UsersUnavailable
        """


class Accounts:
    """Sign up, log in, create users, and tell whose a token is.

    Args:
        users: the stored users.
        hasher: password hashes.
        rule: what a password may be.
        sessions: opened for who signs up or logs in.
        guard: counts wrong guesses.
        second_factor: checks the codes of users who have one.
        policy: what the operator decided.
    """

    def __init__(
        self,
        users: Users,
        hasher: PasswordHasher,
        rule: PasswordRule,
        sessions: Sessions,
        guard: Guard,
        second_factor: CodeCheck,
        policy: Policy,
    ) -> None:
        self._users = users
        self._hasher = hasher
        self._rule = rule
        self._sessions = sessions
        self._guard = guard
        self._second_factor = second_factor
        self.policy = policy

    @property
    def password_min_length(self) -> int:
        """The characters that a password being set must have."""
        return self._rule.min_length

    def require_open_sign_up(self) -> None:
        """Do nothing, if anyone may sign up through a document that can close that.

        Raises:
            SignUpClosed
        """
        if not self.policy.sign_up_open:
            raise SignUpClosed

    def new_user(
        self,
        username: str,
        password: str,
        email: str | None = None,
        permission: int = ORDINARY,
        data: str = NO_DATA,
        *,
        strict: bool = False,
    ) -> NewUser:
        """Check what a user is to be made of; nothing is looked up, hashed or stored.

        A weak password is refused if `strict`, or if the policy says so.

        Raises:
            InvalidUsername, InvalidEmail, InvalidPassword, InvalidPermission, InvalidData
        """
        name = normalise_username(username)
        address = None if email is None else check_email(email)
        self._check_password(password, name, address, strict=strict)
        if permission < ORDINARY:
            raise InvalidPermission
        return NewUser(
            username=name,
            username_key=fold(name),
            email=address,
            email_key=None if address is None else fold(address),
            permission=permission,
            password=password,
            data=check_data(data),
        )

    def sign_up(self, new_user: NewUser, client: Client) -> tuple[User, str]:
        """Store a user and open a session: both or neither.

        A store of sessions that is down is noticed first: it costs no hash, and no
        transaction waits for it while others wait for the transaction.

        Returns:
            The user, and an access token.

        Raises:
            UsernameTaken, EmailTaken, UsersUnavailable, SessionsUnavailable, Overloaded
        """
        user, tokens = self._sign_up(new_user, client, renewable=False)
        return user, tokens.access_token

    def sign_up_renewably(self, new_user: NewUser, client: Client) -> tuple[User, Tokens]:
        """Do as `sign_up` does, with a refresh token.

        Raises:
            UsernameTaken, EmailTaken, UsersUnavailable, SessionsUnavailable, Overloaded
        """
        return self._sign_up(new_user, client, renewable=True)

    def register(self, new_user: NewUser, client: Client) -> User:
        """Store a user and open no session.

        Raises:
            UsernameTaken, EmailTaken, UsersUnavailable, Overloaded
        """
        user, _ = self._add(new_user, client, lambda _: None, SIGNED_UP)
        return user

    def create_user(self, creator: User | None, new_user: NewUser, client: Client) -> User:
        """Store a user on behalf of an administrator, or of an operator (None).

        Raises:
            PermissionDenied: the creator would grant more than they hold.
            UsernameTaken, EmailTaken, UsersUnavailable, Overloaded
        """
        if creator is not None and new_user.permission > creator.permission:
            raise PermissionDenied
        user, _ = self._add(new_user, client, lambda _: None, CREATED, creator)
        return user

    def log_in(
        self, username: str, password: str, client: Client, *, sliding: bool = False
    ) -> tuple[User, str]:
        """Open a session for the user who has this name and password.

        There is no place for a code: users who need one are refused like a wrong
        password. An unknown user costs the same hash as a wrong password.

        Args:
            username: the name.
            password: the password.
            client: from where.
            sliding: whether the session ends some time after its last use.

        Returns:
            The user, and an access token.

        Raises:
            UserDisabled: all is right, but the user may do nothing.
            InvalidCredentials, TooManyAttempts, UsersUnavailable, SessionsUnavailable, Overloaded
        """
        key = _key_of(username)
        with self._hasher.admission():
            with self._guard.attempt(key or username, client):
                user = self._prove(self._users.by_username_key(key) if key else None, password)
                if user.totp_on:
                    raise InvalidCredentials
            return user, self._open(user, password, client, sliding=sliding).access_token

    def log_in_renewably(
        self, login: str, password: str, code: str | None, client: Client
    ) -> tuple[User, Tokens]:
        """Open a session that can be renewed, for a user name or a verified address.

        A name that equals someone's address is matched as a name first.

        Args:
            login: the name or address.
            password: the password.
            code: a one-time or recovery code, for users who need one.
            client: from where.

        Raises:
            SecondFactorRequired: all is right, and a code must come along.
            InvalidCode: only the code is wrong, or was used before.
            UserDisabled: name and password are right, but the user may do nothing.
            InvalidCredentials, TooManyAttempts, UsersUnavailable, SessionsUnavailable, Overloaded
        """
        key = _key_of(login) or _address_key(login)
        with self._hasher.admission():
            with self._guard.attempt(key or login, client):
                user = self._prove(self._users.by_login_key(key) if key else None, password)
                if user.totp_on:
                    self._ask_code(user, code, client)
            return user, self._open(user, password, client, renewable=True)

    def who_is(self, token: str) -> User:
        """Return the user, as stored now, for whom the token was issued.

        Raises:
            InvalidToken: it is malformed, forged, expired or revoked, or its user is
                gone or disabled.
            UsersUnavailable, SessionsUnavailable
        """
        return self._sessions.who_is(token).user

    def administrator(self, token: str) -> User:
        """Return the token's user, who is an administrator.

        Raises:
            PermissionDenied: the user is an ordinary one.
            InvalidToken, UsersUnavailable, SessionsUnavailable
        """
        user = self.who_is(token)
        self.require_administrator(user)
        return user

    def require_administrator(self, user: User) -> None:
        """Do nothing, if the user is an administrator.

        Raises:
            PermissionDenied: the user is an ordinary one.
        """
        if not self.policy.administers(user):
            raise PermissionDenied

    def _check_password(
        self, password: str, username: str, email: str | None, *, strict: bool
    ) -> None:
        if strict or self.policy.strict_passwords:
            self._rule.check_strict(password, username, email)
        else:
            self._rule.check_form(password)

    def _sign_up(
        self, new_user: NewUser, client: Client, *, renewable: bool
    ) -> tuple[User, Tokens]:
        with self._hasher.admission():
            self._sessions.check()
            return self._add(
                new_user,
                client,
                lambda user: self._sessions.open(user, client, renewable=renewable),
                SIGNED_UP,
            )

    def _add(
        self,
        new_user: NewUser,
        client: Client,
        finish: Callable[[User], T],
        action: str,
        creator: User | None = None,
    ) -> tuple[User, T]:
        def note(user: User, now: User | None) -> Note:
            if creator is not None:
                self._require_grant(now, user.permission)
            actor = user if action == SIGNED_UP else now
            granted = {"permission": user.permission} if action == CREATED else {}
            entry = Entry(action, actor, user, client, granted)
            wanted = self.policy.sends_mail and user.email is not None
            letter = Letter(VERIFY, user.id, user.email, client.language)
            return Note((entry,), (letter,) if wanted else ())

        password_hash = self._hasher.hash(new_user.password)
        by = None if creator is None else creator.id
        return self._users.add(new_user, password_hash, finish, note, by)

    def _require_grant(self, now: User | None, permission: int) -> None:
        """Hold a creator, as stored now, to be an administrator who holds what is granted."""
        if now is None or not self.policy.administers(now) or now.permission < permission:
            raise PermissionDenied

    def _prove(self, user: User | None, password: str) -> User:
        """Return the user if the password is theirs, at the cost of one hash in any case.

        That a user is disabled is told to nobody but who knows the password.
        """
        if user is None or not is_storable_password(password):
            self._hasher.verify_decoy()
            raise InvalidCredentials
        if not self._hasher.verify(user.password_hash, password):
            raise InvalidCredentials
        if user.disabled:
            raise UserDisabled
        return user

    def _ask_code(self, user: User, code: str | None, client: Client) -> None:
        if code is None:
            raise SecondFactorRequired
        self._second_factor.spend(user, code, client)

    def _open(
        self,
        user: User,
        password: str,
        client: Client,
        *,
        renewable: bool = False,
        sliding: bool = False,
    ) -> Tokens:
        self._renew_hash(user, password)
        return self._sessions.open(user, client, renewable=renewable, sliding=sliding)

    def _renew_hash(self, user: User, password: str) -> None:
        if not self._hasher.needs_rehash(user.password_hash):
            return
        try:
            self._users.replace_hash(user, self._hasher.hash(password))
        except (UsersUnavailable, Overloaded):
            _log.warning("the password hash of user %d could not be renewed", user.id)


def _key_of(username: str) -> str | None:
    try:
        return fold(normalise_username(username))
    except InvalidUsername:
        return None


def _address_key(login: str) -> str | None:
    try:
        return fold(check_email(login))
    except InvalidEmail:
        return None
