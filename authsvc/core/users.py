"""Users, and the one spelling under which their names and addresses are compared."""

import re
import unicodedata
from dataclasses import dataclass, field

from authsvc.core.errors import InvalidData, InvalidEmail, InvalidUsername

USERNAME_MAX_LENGTH = 64
EMAIL_MAX_LENGTH = 254
PASSWORD_MAX_BYTES = 1024
DATA_MAX_BYTES = 16 * 1024
NO_DATA = "{}"
LONGEST_FOLDING = 3
"""Characters that one character can become when it is folded, at the most."""

_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SPACES = frozenset({"Zs", "Zl", "Zp"})
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
_LOCAL_PART = rf"{_ATOM}(?:\.{_ATOM})*"
_LETTER = r"[A-Za-z0-9\u0080-\U0010ffff]"
_LABEL = rf"{_LETTER}(?:(?:{_LETTER}|-){{0,61}}{_LETTER})?"
_EMAIL = re.compile(rf"(?P<local>{_LOCAL_PART})@(?:{_LABEL}\.)+(?P<last>{_LABEL})")


@dataclass(frozen=True, slots=True)
class User:
    """A stored person.

    Args:
        id: never given to another user.
        username: as typed.
        email: as typed; None for a user without one.
        permission: 0 for an ordinary user.
        data: JSON text that belongs to the application.
        password_hash: tells its own algorithm and parameters.
        email_verified: whether a mail to the address was answered.
        disabled: whether the user may do nothing.
        epoch: counts what ended all sessions at once; sessions of an earlier epoch are over.
        totp_secret: the sealed secret of one-time codes, on or being set up.
        totp_on: whether a log-in asks for a code.
        totp_step: the time step of the last one-time code that was used.
        created_at: seconds since the epoch.
    """

    id: int
    username: str
    email: str | None
    permission: int
    data: str
    password_hash: str = field(repr=False)
    email_verified: bool = False
    disabled: bool = False
    epoch: int = 0
    totp_secret: str | None = field(default=None, repr=False)
    totp_on: bool = False
    totp_step: int = 0
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class NewUser:
    """A person who can be stored: every field keeps the core's rules."""

    username: str
    username_key: str
    email: str | None
    email_key: str | None
    permission: int
    password: str = field(repr=False)
    data: str = NO_DATA
    email_verified: bool = False
    disabled: bool = False


def fold(text: str) -> str:
    """Return the form under which two spellings of `text` are the same (NFKC_Casefold)."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", folded)


def normalise_username(raw: str) -> str:
    """Return the name as it is stored and shown: NFKC, trimmed.

    Raises:
        InvalidUsername: it is empty, longer than 64 characters, or has a
            control, format, surrogate, private-use or unassigned character.
    """
    name = unicodedata.normalize("NFKC", raw).strip()
    if not 1 <= len(name) <= USERNAME_MAX_LENGTH:
        raise InvalidUsername
    if _has_category(name, _REFUSED_CATEGORIES):
        raise InvalidUsername
    return name


def check_email(raw: str) -> str:
    """Return the address as typed, after checking its syntax.

    Raises:
        InvalidEmail: as typed, or under NFKC as it is compared, it is longer
            than 254 characters or is not `local@domain` with dot-separated
            atoms (RFC 5321, RFC 6531 letters included) and a domain of at
            least two labels, the last not a number.
    """
    if not (_is_email(raw) and _is_email(unicodedata.normalize("NFKC", raw))):
        raise InvalidEmail
    return raw


def check_data(raw: str) -> str:
    """Return the application's JSON text, after checking its size.

    Raises:
        InvalidData: it is longer than 16 KiB in UTF-8, or cannot be encoded.
    """
    try:
        size = len(raw.encode())
    except UnicodeEncodeError:
        raise InvalidData from None
    if size > DATA_MAX_BYTES:
        raise InvalidData
    return raw


def is_storable_password(password: str) -> bool:
    """Tell whether a password of this size and alphabet can have been set."""
    try:
        return len(password.encode()) <= PASSWORD_MAX_BYTES
    except UnicodeEncodeError:
        return False


def _is_email(text: str) -> bool:
    match = _EMAIL.fullmatch(text) if len(text) <= EMAIL_MAX_LENGTH else None
    if match is None or len(match["local"]) > 64 or match["last"].isdigit():
        return False
    return not _has_category(text, _REFUSED_CATEGORIES | _SPACES)


def _has_category(text: str, categories: frozenset[str]) -> bool:
    return any(unicodedata.category(character) in categories for character in text)
