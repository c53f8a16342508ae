"""E-mail addresses that are verified, and passwords that are recovered, by mail.

The request leaves one letter, whether anyone has the address or not, and so answers
alike and works alike. Who is meant is found out later, by whoever sends the letter;
the token is made then, so that no secret ever waits to be sent.
"""

import hashlib
import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from authsvc.core.audit import EMAIL_CHANGED as ADDRESS_CHANGED
from authsvc.core.audit import EMAIL_VERIFIED, PASSWORD_RESET, Entry
from authsvc.core.clients import Client
from authsvc.core.errors import InvalidMailToken, MailOff, SessionsUnavailable, UnknownUser
from authsvc.core.letters import EMAIL_CHANGED, PASSWORD_CHANGED, RESET, VERIFY, Letter
from authsvc.core.mails import Mail, MailTokenStore
from authsvc.core.passwords import PasswordRule
from authsvc.core.ports import (
    Change,
    Clock,
    MailToken,
    Note,
    Outbox,
    PasswordHasher,
    Users,
)
from authsvc.core.users import User, check_email, fold

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_TOKEN_BYTES = 32
_log = logging.getLogger(__name__)


class SessionsOfUser(Protocol):
    """What a reset asks of the sessions."""

    def close_all(self, user_id: int) -> None:
        """End all sessions of a user.

        Raises:
            SessionsUnavailable
        """


@dataclass(frozen=True, slots=True)
class RecoveryPolicy:
    """What an operator decides about mails.

    Args:
        sends_mail: whether the service sends any.
        token_lifetime: seconds until a mail's link expires.
    """

    sends_mail: bool = False
    token_lifetime: int = 1800


class Recovery:
    """Verify addresses, and let forgotten passwords be replaced.

    Args:
        users: the stored users.
        outbox: takes letters.
        mail_tokens: the live tokens.
        hasher: password hashes.
        rule: what a password may be.
        sessions: ended by a reset.
        clock: the time of day.
        policy: what the operator decided.
    """

    def __init__(
        self,
        users: Users,
        outbox: Outbox,
        mail_tokens: MailTokenStore,
        hasher: PasswordHasher,
        rule: PasswordRule,
        sessions: SessionsOfUser,
        clock: Clock,
        policy: RecoveryPolicy,
    ) -> None:
        self._users = users
        self._outbox = outbox
        self._mail_tokens = mail_tokens
        self._hasher = hasher
        self._rule = rule
        self._sessions = sessions
        self._clock = clock
        self.policy = policy

    def ask_verification(self, email: str, client: Client) -> None:
        """Send a link that confirms an address, if it is some user's and not confirmed yet.

        Raises:
            MailOff, InvalidEmail, UsersUnavailable
        """
        self._ask(VERIFY, email, client)

    def ask_reset(self, email: str, client: Client) -> None:
        """Send a link that lets a new password be set, if the address is some user's.

        Raises:
            MailOff, InvalidEmail, UsersUnavailable
        """
        self._ask(RESET, email, client)

    def confirm(self, token: str, client: Client) -> str:
        """Give the user the address to which the token was sent, verified.

        An address that takes the place of another is told to the other, and all
        links that were sent to the user before are void.

        Returns:
            The address.

        Raises:
            InvalidMailToken: malformed, expired or used, or its user is gone or disabled.
            EmailTaken: another user has the address; the token is still good.
            UsersUnavailable
        """
        token_hash, proof = self._look(token, VERIFY)

        def decide(user: User, _: User | None) -> Change:
            _refuse_disabled(user)
            changes = user.email != proof.email
            after = replace(user, email=proof.email, email_verified=True)
            action = ADDRESS_CHANGED if changes else EMAIL_VERIFIED
            letter = Letter(EMAIL_CHANGED, user.id, user.email, client.language)
            return Change(
                after,
                Note(
                    (Entry(action, after, after, client),),
                    (letter,) if changes and user.email is not None else (),
                ),
                spends_mail_token=token_hash,
                drops_mail_tokens=changes,
            )

        self._edit(proof, decide)
        return proof.email

    def reset(self, token: str, password: str, client: Client) -> None:
        """Replace a forgotten password, and end all of the user's sessions.

        A password that is refused leaves the token good. The link proves who reads
        the user's mail: it is void once the user has another address, and verifies
        the address that the user has.

        Raises:
            InvalidMailToken: malformed, expired or used, or its user is gone or disabled.
            InvalidPassword, WeakPassword, UsersUnavailable, Overloaded
        """
        with self._hasher.admission():
            token_hash, proof = self._look(token, RESET)
            user = self._users.by_id(proof.user_id)
            if user is None:
                raise InvalidMailToken
            _refuse_other_address(user, proof)
            self._rule.check_strict(password, user.username, user.email)
            password_hash = self._hasher.hash(password)

        def decide(user: User, _: User | None) -> Change:
            _refuse_other_address(user, proof)
            after = replace(
                user, password_hash=password_hash, epoch=user.epoch + 1, email_verified=True
            )
            return Change(
                after,
                Note(
                    (Entry(PASSWORD_RESET, after, after, client),),
                    (Letter(PASSWORD_CHANGED, user.id, None, client.language),),
                ),
                spends_mail_token=token_hash,
                drops_mail_tokens=True,
            )

        self._edit(proof, decide)
        self._close_sessions(proof.user_id)

    def write(self, letter: Letter) -> Mail | None:
        """Return the mail that a letter has become by now; None if nobody is to get one.

        Nobody is, if the address is unknown or verified already, if the user is
        gone or disabled, or if the last such mail was sent too recently.

        Raises:
            UsersUnavailable
        """
        user = self._user_of(letter)
        if user is None or user.disabled:
            return None
        if letter.kind == VERIFY:
            address = user.email if letter.user_id is None else letter.address or user.email
            if user.email_verified and user.email == address:
                return None
            return self._with_token(letter, user, address)
        if letter.kind == RESET:
            return self._with_token(letter, user, user.email)
        return _mail(letter, user, letter.address or user.email)

    def withdraw(self, mail: Mail) -> None:
        """Make the token void of a mail that could not be sent.

        Raises:
            UsersUnavailable
        """
        if mail.token is not None:
            self._mail_tokens.withdraw(_hash(mail.token))

    def _ask(self, kind: str, email: str, client: Client) -> None:
        if not self.policy.sends_mail:
            raise MailOff
        self._outbox.put(Letter(kind, None, check_email(email), client.language))

    def _look(self, token: str, purpose: str) -> tuple[str, MailToken]:
        if not _TOKEN.fullmatch(token):
            raise InvalidMailToken
        token_hash = _hash(token)
        proof = self._mail_tokens.look(token_hash, int(self._clock()))
        if proof is None or proof.purpose != purpose:
            raise InvalidMailToken
        return token_hash, proof

    def _edit(self, proof: MailToken, decide: Callable[[User, User | None], Change]) -> None:
        try:
            self._users.edit(proof.user_id, decide)
        except UnknownUser:
            raise InvalidMailToken from None

    def _close_sessions(self, user_id: int) -> None:
        try:
            self._sessions.close_all(user_id)
        except SessionsUnavailable:
            _log.warning("the sessions of user %d are over, but still stored", user_id)

    def _user_of(self, letter: Letter) -> User | None:
        if letter.user_id is not None:
            return self._users.by_id(letter.user_id)
        return None if letter.address is None else self._users.by_email_key(fold(letter.address))

    def _with_token(self, letter: Letter, user: User, address: str | None) -> Mail | None:
        if address is None:
            return None
        token, lifetime = secrets.token_urlsafe(_TOKEN_BYTES), self.policy.token_lifetime
        proof = MailToken(user.id, letter.kind, address)
        if not self._mail_tokens.keep(_hash(token), proof, int(self._clock()), lifetime):
            return None
        return _mail(letter, user, address, token, lifetime // 60)


def _mail(
    letter: Letter, user: User, address: str | None, token: str | None = None, minutes: int = 0
) -> Mail | None:
    if address is None:
        return None
    username = user.username if user.email_verified and address == user.email else None
    return Mail(letter.kind, address, letter.language, username, token, minutes)


def _refuse_disabled(user: User) -> None:
    if user.disabled:
        raise InvalidMailToken


def _refuse_other_address(user: User, proof: MailToken) -> None:
    _refuse_disabled(user)
    if user.email != proof.email:
        raise InvalidMailToken


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
