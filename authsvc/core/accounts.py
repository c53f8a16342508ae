"""The use cases of accounts, and the order in which each does its work."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from authsvc.core.errors import (
    InvalidCredentials,
    InvalidPassword,
    InvalidPermission,
    InvalidToken,
    InvalidUsername,
    Overloaded,
    PermissionDenied,
    UsersUnavailable,
)
from authsvc.core.ports import Clock, PasswordHasher, Sessions, TokenIssuer, Users
from authsvc.core.users import (
    NewUser,
    User,
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
        password_min_length: characters that a password being set must have.
        admin_permission: the permission from which on a user is an administrator.
        token_lifetime: seconds that an access token is honoured.
    """

    password_min_length: int = 8
    admin_permission: int = 1
    token_lifetime: int = 7200


class Accounts:
    """Sign up, log in, create users, and tell whose a token is."""

    def __init__(
        self,
        users: Users,
        hasher: PasswordHasher,
        tokens: TokenIssuer,
        sessions: Sessions,
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._users = users
        self._hasher = hasher
        self._tokens = tokens
        self._sessions = sessions
        self._clock = clock
        self.policy = policy

    def new_user(
        self,
        username: str,
        password: str,
        email: str | None = None,
        permission: int = ORDINARY,
    ) -> NewUser:
        """Check what a user is to be made of; nothing is looked up, hashed or stored.

        Raises:
            InvalidUsername, InvalidEmail, InvalidPassword, InvalidPermission
        """
        name = normalise_username(username)
        address = None if email is None else check_email(email)
        self.check_password(password)
        if permission < ORDINARY:
            raise InvalidPermission
        return NewUser(
            username=name,
            username_key=fold(name),
            email=address,
            email_key=None if address is None else fold(address),
            permission=permission,
            password=password,
        )

    def check_password(self, password: str) -> None:
        """Hold a password that is being set to the rule.

        Raises:
            InvalidPassword: it is shorter than the policy's minimum, longer
                than 1,024 bytes, or not text that can be encoded.
        """
        minimum = self.policy.password_min_length
        if len(password) < minimum or not is_storable_password(password):
            raise InvalidPassword(minimum)

    def sign_up(self, new_user: NewUser) -> tuple[User, str]:
        """Store a user and open a session: both or neither.

        A store of sessions that is down is noticed first: it costs no hash, and no
        transaction waits for it while others wait for the transaction.

        Returns:
            The user, and an access token.

        Raises:
            UsernameTaken, EmailTaken, UsersUnavailable, SessionsUnavailable, Overloaded
        """
        self._sessions.check()
        return self._add(new_user, self._issue_token)

    def register(self, new_user: NewUser) -> User:
        """Store a user and open no session.

        Raises:
            UsernameTaken, EmailTaken, UsersUnavailable, Overloaded
        """
        user, _ = self._add(new_user, lambda _: None)
        return user

    def create_user(self, creator: User, new_user: NewUser) -> User:
        """Store a user on an administrator's behalf.

        Raises:
            PermissionDenied: the creator would grant more than they hold.
            UsernameTaken, EmailTaken, UsersUnavailable, Overloaded
        """
        if new_user.permission > creator.permission:
            raise PermissionDenied
        return self.register(new_user)

    def log_in(self, username: str, password: str) -> tuple[User, str]:
        """Open a session for the user who has this name and password.

        An unknown user costs the same hash as a wrong password.

        Returns:
            The user, and an access token.

        Raises:
            InvalidCredentials, UsersUnavailable, SessionsUnavailable, Overloaded
        """
        user = self._find(username)
        if user is None or not is_storable_password(password):
            self._hasher.verify_decoy()
            raise InvalidCredentials
        if not self._hasher.verify(user.password_hash, password):
            raise InvalidCredentials
        self._renew_hash(user, password)
        return user, self._issue_token(user)

    def who_is(self, token: str) -> User:
        """Return the user, as stored now, for whom the token was issued.

        Raises:
            InvalidToken: it is malformed, forged, expired or revoked, or its user is gone.
            UsersUnavailable, SessionsUnavailable
        """
        claims = self._tokens.decode(token)
        if not self._sessions.is_open(claims.session_id):
            raise InvalidToken
        user = self._users.by_id(claims.user_id)
        if user is None:
            raise InvalidToken
        return user

    def administrator(self, token: str) -> User:
        """Return the token's user, who is an administrator.

        Raises:
            PermissionDenied: the user is an ordinary one.
            InvalidToken, UsersUnavailable, SessionsUnavailable
        """
        user = self.who_is(token)
        if user.permission < self.policy.admin_permission:
            raise PermissionDenied
        return user

    def revoke(self, token: str) -> None:
        """End the session of a genuine token.

        Raises:
            InvalidToken, SessionsUnavailable
        """
        self._sessions.close(self._tokens.decode(token).session_id)

    def _add(self, new_user: NewUser, finish: Callable[[User], T]) -> tuple[User, T]:
        password_hash = self._hasher.hash(new_user.password)
        return self._users.add(new_user, password_hash, finish)

    def _find(self, username: str) -> User | None:
        try:
            key = fold(normalise_username(username))
        except InvalidUsername:
            return None
        return self._users.by_username_key(key)

    def _renew_hash(self, user: User, password: str) -> None:
        if not self._hasher.needs_rehash(user.password_hash):
            return
        try:
            self._users.replace_hash(user, self._hasher.hash(password))
        except (UsersUnavailable, Overloaded):
            _log.warning("the password hash of user %d could not be renewed", user.id)

    def _issue_token(self, user: User) -> str:
        now = int(self._clock())
        session_id = secrets.token_urlsafe(16)
        token = self._tokens.issue(user, session_id, now, now + self.policy.token_lifetime)
        self._sessions.open(session_id, user.id, self.policy.token_lifetime)
        return token
