"""What the core needs from outside, and nothing of how it is met.

Each port says which facts of `authsvc.core.errors` it raises; a library's own
exceptions never pass it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from authsvc.core.users import NewUser, User

T = TypeVar("T")


class Clock(Protocol):
    """The time of day."""

    def __call__(self) -> float:
        """Return the seconds since 1970-01-01T00:00Z."""


class Users(Protocol):
    """The stored users. Every method can raise `UsersUnavailable`."""

    def add(
        self, new_user: NewUser, password_hash: str, finish: Callable[[User], T]
    ) -> tuple[User, T]:
        """Store a user together with what `finish` does, or neither.

        `finish` is called with the user before the insert is committed, and
        called again should the transaction have to be repeated; an exception
        that leaves it undoes the insert.

        Returns:
            The stored user, and what `finish` returned.

        Raises:
            UsernameTaken: the name's key is stored already.
            EmailTaken: only the e-mail's key is stored already.
        """

    def by_username_key(self, key: str) -> User | None:
        """Return the user with this folded name."""

    def by_id(self, user_id: int) -> User | None:
        """Return the user with this id."""

    def replace_hash(self, user: User, password_hash: str) -> None:
        """Store another hash, unless the user's hash changed since `user` was read."""


class PasswordHasher(Protocol):
    """Password hashes. Methods that hash can raise `Overloaded`."""

    def hash(self, password: str) -> str:
        """Return a salted hash that tells its own algorithm and parameters."""

    def verify(self, password_hash: str, password: str) -> bool:
        """Tell whether the password is the one that was hashed."""

    def verify_decoy(self) -> None:
        """Cost what `verify` costs, for a user who is not there."""

    def needs_rehash(self, password_hash: str) -> bool:
        """Tell whether the hash was made with other parameters than today's."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a genuine, unexpired access token says."""

    session_id: str
    user_id: int


class TokenIssuer(Protocol):
    """Access tokens."""

    def issue(self, user: User, session_id: str, issued_at: int, expires_at: int) -> str:
        """Return a signed token; times in seconds since the epoch."""

    def decode(self, token: str) -> Claims:
        """Return the claims of a genuine, unexpired token.

        Raises:
            InvalidToken: it is anything else.
        """


class Sessions(Protocol):
    """The sessions behind tokens. Every method can raise `SessionsUnavailable`."""

    def check(self) -> None:
        """Do nothing, if the store answers."""

    def open(self, session_id: str, user_id: int, lifetime: int) -> None:
        """Record a session that ends by itself after `lifetime` seconds."""

    def is_open(self, session_id: str) -> bool:
        """Tell whether the session was recorded and has neither ended nor been closed."""

    def close(self, session_id: str) -> None:
        """End a session now; a session that is not open stays so."""


class CaptchaStore(Protocol):
    """The live captchas. Every method can raise `CaptchasUnavailable`."""

    def reserve(self, captcha_id: str, client: str, lifetime: int, most: int) -> int:
        """Count a captcha among the client's live ones, of which there are `most` at the most.

        Returns:
            0 if there was room; else the seconds until there is.
        """

    def put(self, captcha_id: str, record: str, lifetime: int) -> None:
        """Keep what is known of a captcha for `lifetime` seconds."""

    def look(self, captcha_id: str) -> tuple[str | None, bytes | None]:
        """Return the record, if the captcha is live, and its image, if one was kept."""

    def keep_image(self, captcha_id: str, image: bytes) -> None:
        """Keep the image for as long as the record still lives; drop it if it does not."""

    def take(self, captcha_id: str, client: str) -> str | None:
        """Return the record and forget the captcha, in one indivisible step.

        It no longer counts among the client's live ones, if it did.
        """

    def use(self, signature: str, lifetime: int) -> bool:
        """Mark a signature as used for `lifetime` seconds; tell whether it was not used before."""


class CaptchaPainter(Protocol):
    """Pictures of answers."""

    def paint(self, answer: str, seed: bytes) -> bytes:
        """Return a PNG of `answer`: the same pixels for the same answer and seed."""


class CaptchaSpeaker(Protocol):
    """Recordings of answers."""

    languages: frozenset[str]
    """The languages in which digits can be spoken, as `en`, `zh`."""

    def speak(self, digits: str, seed: bytes, language: str) -> bytes:
        """Return a WAV of `digits`: the same samples for the same digits, seed and language."""


@dataclass(frozen=True, slots=True)
class Work:
    """A puzzle that was solved: which one, and for how many seconds more it could be shown."""

    signature: str
    left: int


class ProofOfWork(Protocol):
    """Puzzles that cost the client's processor some time."""

    def challenge(self, captcha_id: str, purpose: str, expires_at: int) -> dict[str, object]:
        """Return a signed puzzle that is bound to an id, a purpose and an expiry."""

    def check(self, payload: str, captcha_id: str, purpose: str, now: float) -> Work | None:
        """Return the work done, if the payload solves a puzzle of ours of this id and purpose."""
