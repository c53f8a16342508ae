"""One-time codes beside the password, and the recovery codes that stand in for them."""

import hashlib
import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import replace

from authsvc.core.audit import RECOVERY_CODE_USED, TOTP_OFF, TOTP_ON, Entry
from authsvc.core.clients import Client
from authsvc.core.confirming import check_password, confirm_password, require_same_password
from authsvc.core.errors import (
    InvalidCode,
    InvalidToken,
    SecondFactorOff,
    SecondFactorOn,
    UnknownUser,
    Unsealable,
    WrongCode,
)
from authsvc.core.guessing import Guard
from authsvc.core.ports import Change, Clock, Note, OneTimeCodes, PasswordHasher, Users, Vault
from authsvc.core.sessions import Identity
from authsvc.core.users import User, fold

RECOVERY_CODES = 10
"""How many recovery codes a user is given."""
CODE_MAX_LENGTH = 64
"""Characters of the longest text that can be a code, blanks and hyphens included."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RECOVERY_CODE = re.compile(rf"[{_ALPHABET}]{{10}}")
_ONE_TIME_CODE = re.compile("[0-9]{6}")
_log = logging.getLogger(__name__)


class SecondFactor:
    """Turn one-time codes on and off, and use codes up.

    A one-time code has six ASCII digits; any other text is taken for a recovery code.

    Args:
        users: the stored users.
        codes: the one-time codes.
        vault: seals the secrets that they are made of.
        guard: counts wrong passwords and codes.
        hasher: password hashes.
        clock: the time of day.
    """

    def __init__(
        self,
        users: Users,
        codes: OneTimeCodes,
        vault: Vault,
        guard: Guard,
        hasher: PasswordHasher,
        clock: Clock,
    ) -> None:
        self._users = users
        self._codes = codes
        self._vault = vault
        self._guard = guard
        self._hasher = hasher
        self._clock = clock

    def spend(self, user: User, code: str, client: Client) -> None:
        """Use up one of the user's codes; of any number at once with one code, one succeeds.

        The caller counts the guess.

        Raises:
            InvalidCode: it is not one of the user's, or was used before.
            UsersUnavailable
        """
        try:
            self._users.edit(user.id, lambda stored, _: self._spent(stored, code, client))
        except (UnknownUser, SecondFactorOff):
            raise InvalidCode from None

    def prepare(self, identity: Identity, password: str, client: Client) -> tuple[str, str]:
        """Begin to set up one-time codes, with a secret in place of any begun before.

        Returns:
            The secret, in base32, and what an authenticator reads: `otpauth://totp/…`.

        Raises:
            SecondFactorOn: codes are asked for already.
            WrongPassword, TooManyAttempts
            InvalidToken: the user is gone.
            UsersUnavailable, SessionsUnavailable, Overloaded
        """
        user = identity.user
        confirm_password(self._hasher, self._guard, user, password, client)
        secret = self._codes.new_secret()
        sealed = self._vault.seal(secret.encode(), _purpose(user))

        def decide(stored: User, _: User | None) -> Change:
            require_same_password(stored, user)
            if stored.totp_on:
                raise SecondFactorOn
            return Change(replace(stored, totp_secret=sealed, totp_step=0))

        self._edit(user, decide)
        return secret, self._codes.uri(secret, user.username)

    def confirm(self, identity: Identity, code: str, client: Client) -> list[str]:
        """Ask for codes from now on, as the first one-time code shows that they can be made.

        Returns:
            Ten recovery codes, as shown to the user, this one time.

        Raises:
            WrongCode: it is not the one-time code of now.
            SecondFactorOn: codes are asked for already.
            SecondFactorOff: nothing is being set up.
            TooManyAttempts
            InvalidToken: the user is gone.
            UsersUnavailable, SessionsUnavailable
        """
        user = identity.user
        recovery_codes = [_new_recovery_code() for _ in range(RECOVERY_CODES)]
        hashes = tuple(filter(None, map(_recovery_hash, recovery_codes)))

        def decide(stored: User, _: User | None) -> Change:
            if stored.totp_on:
                raise SecondFactorOn
            step = self._step(stored, code)
            return Change(
                replace(stored, totp_on=True, totp_step=step),
                Note((Entry(TOTP_ON, stored, stored, client),)),
                recovery_codes=hashes,
            )

        with self._guard.attempt(fold(user.username), client):
            self._edit(user, decide)
        return recovery_codes

    def remove(self, identity: Identity, password: str, code: str, client: Client) -> None:
        """Ask for no codes any more; all recovery codes are void.

        Raises:
            SecondFactorOff: no codes are asked for.
            WrongPassword, TooManyAttempts
            WrongCode: it is not one of the user's, or was used before.
            InvalidToken: the user is gone.
            UsersUnavailable, SessionsUnavailable, Overloaded
        """
        user = identity.user

        def decide(stored: User, _: User | None) -> Change:
            require_same_password(stored, user)
            spent = self._spent(stored, code, client)
            entry = Entry(TOTP_OFF, stored, stored, client)
            return replace(
                spent,
                after=replace(stored, totp_secret=None, totp_on=False, totp_step=0),
                note=Note((*spent.note.entries, entry)),
                recovery_codes=(),
            )

        with self._hasher.admission(), self._guard.attempt(fold(user.username), client):
            check_password(self._hasher, user, password)
            self._edit(user, decide)

    def _spent(self, stored: User, code: str, client: Client) -> Change:
        """Return the change that uses a code up."""
        if not stored.totp_on:
            raise SecondFactorOff
        if _ONE_TIME_CODE.fullmatch(code):
            return Change(replace(stored, totp_step=self._step(stored, code)))
        code_hash = _recovery_hash(code)
        if code_hash is None:
            raise InvalidCode
        entry = Entry(RECOVERY_CODE_USED, stored, stored, client)
        return Change(stored, Note((entry,)), spends_recovery_code=code_hash)

    def _step(self, stored: User, code: str) -> int:
        """Return the time step of a one-time code that was not used, nor any later one."""
        if stored.totp_secret is None:
            raise SecondFactorOff
        step = self._codes.step(self._secret(stored), code, self._clock())
        if step is None or step <= stored.totp_step:
            raise InvalidCode
        return step

    def _secret(self, stored: User) -> str:
        try:
            return self._vault.open(stored.totp_secret or "", _purpose(stored)).decode()
        except Unsealable:
            _log.error("the one-time codes of user %d were made with another secret", stored.id)
            raise InvalidCode from None

    def _edit(self, user: User, decide: Callable[[User, User | None], Change]) -> None:
        """Change a user who is logged in."""
        try:
            self._users.edit(user.id, decide)
        except UnknownUser:
            raise InvalidToken from None
        except InvalidCode:
            raise WrongCode from None


def _purpose(user: User) -> str:
    return f"totp:{user.id}"


def _new_recovery_code() -> str:
    """Return 50 random bits, as `xxxxx-xxxxx`."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(10))
    return f"{letters[:5]}-{letters[5:]}"


def _recovery_hash(code: str) -> str | None:
    """Return what is stored of a recovery code, in any case, with or without blanks and hyphens.

    None stands for text that cannot be one.
    """
    if len(code) > CODE_MAX_LENGTH:
        return None
    letters = re.sub(r"[\s-]", "", fold(code))
    if not _RECOVERY_CODE.fullmatch(letters):
        return None
    return hashlib.sha256(letters.encode()).hexdigest()
