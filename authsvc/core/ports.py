"""What the core needs from outside, and nothing of how it is met.

Each port says which facts of `authsvc.core.errors` it raises; a library's own
exceptions never pass it.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from authsvc.core.audit import Entry
from authsvc.core.clients import Client
from authsvc.core.letters import Letter
from authsvc.core.users import NewUser, User

T = TypeVar("T")


class Clock(Protocol):
    """The time of day."""

    def __call__(self) -> float:
        """Return the seconds since 1970-01-01T00:00Z."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is stored together with a change of a user: entries of the audit log, and letters."""

    entries: tuple[Entry, ...] = ()
    letters: tuple[Letter, ...] = ()


def no_note(_: User, __: User | None) -> Note:
    """Store nothing along with a user."""
    return Note()


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a user: all of it, or nothing.

    Args:
        after: the user as it shall be; None deletes it. Its id and creation stay.
        note: what is stored along.
        leaves_administrator: a permission: some other enabled user must have at least it.
        spends_mail_token: the hash of a token that must still be there, and is not afterwards.
        spends_recovery_code: the hash of a code that must still be there, and is not afterwards.
        recovery_codes: the hashes of the codes that replace all earlier ones.
        drops_mail_tokens: whether the user's other mail tokens are good for nothing any more, and
            letters that would ask to verify an address are not sent.
    """

    after: User | None
    note: Note = Note()
    leaves_administrator: int | None = None
    spends_mail_token: str | None = None
    spends_recovery_code: str | None = None
    recovery_codes: tuple[str, ...] | None = None
    drops_mail_tokens: bool = False


@dataclass(frozen=True, slots=True)
class UserQuery:
    """Which users are asked for, in the order of their ids.

    Args:
        limit: how many at the most.
        after_id: only users with a greater id.
        prefix: the folded beginning of the name or the e-mail address.
        permission: only users with exactly this permission.
        disabled: only users who are, or are not, disabled.
    """

    limit: int
    after_id: int = 0
    prefix: str = ""
    permission: int | None = None
    disabled: bool | None = None


class Users(Protocol):
    """The stored users. Every method can raise `UsersUnavailable`."""

    def add(
        self,
        new_user: NewUser,
        password_hash: str,
        finish: Callable[[User], T],
        note: Callable[[User, User | None], Note] = no_note,
        by: int | None = None,
    ) -> tuple[User, T]:
        """Store a user together with its note and with what `finish` does, or nothing of it.

        `finish` is called with the user before the insert is committed, and
        called again should the transaction have to be repeated; an exception
        that leaves it undoes the insert. So does one that leaves `note`, which is called
        with the user and with the user `by`, who asks for it, locked and as stored now;
        with None if there is no such user.

        Returns:
            The stored user, and what `finish` returned.

        Raises:
            UsernameTaken: the name's key is stored already.
            EmailTaken: only the e-mail's key is stored already.
        """

    def by_username_key(self, key: str) -> User | None:
        """Return the user with this folded name."""

    def by_login_key(self, key: str) -> User | None:
        """Return the user with this folded name, else the one with this verified address."""

    def by_email_key(self, key: str) -> User | None:
        """Return the user with this folded e-mail address, verified or not."""

    def by_id(self, user_id: int) -> User | None:
        """Return the user with this id."""

    def find(self, query: UserQuery) -> list[User]:
        """Return the users that are asked for."""

    def replace_hash(self, user: User, password_hash: str) -> None:
        """Store another hash, unless the user's hash changed since `user` was read."""

    def edit(
        self, user_id: int, decide: Callable[[User, User | None], Change], by: int | None = None
    ) -> User | None:
        """Change a user as decided on what is stored now, while nobody else changes it.

        Args:
            user_id: whom.
            decide: called with the user and with the user `by`, both locked; called
                again should the transaction have to be repeated. An exception that
                leaves it changes nothing.
            by: who asks for the change; `decide` is given None if there is no such user.

        Returns:
            The user as stored now; None if it was deleted.

        Raises:
            UnknownUser: there is none of this id.
            EmailTaken: another user has the new address.
            LastAdministrator: no other administrator would be left.
            InvalidMailToken, InvalidCode: what was to be spent is not there.
        """


class PasswordHasher(Protocol):
    """Password hashes. Methods that hash can raise `Overloaded`."""

    def admission(self) -> AbstractContextManager[None]:
        """Keep one place for all that this thread hashes within the block.

        A use case enters it first, so that nothing is spent on what cannot be hashed.
        Within another admission of the same thread it changes nothing.

        Raises:
            Overloaded: on entering, at once.
        """

    def hash(self, password: str) -> str:
        """Return a salted hash that tells its own algorithm and parameters."""

    def verify(self, password_hash: str, password: str) -> bool:
        """Tell whether the password is the one that was hashed."""

    def verify_decoy(self) -> None:
        """Cost what `verify` costs, for a user who is not there."""

    def needs_rehash(self, password_hash: str) -> bool:
        """Tell whether the hash was made with other parameters than today's."""


class CommonPasswords(Protocol):
    """The passwords that people use most."""

    def __contains__(self, password: str) -> bool:
        """Tell whether the password is one of them, in any spelling of case and width."""


class StrengthMeter(Protocol):
    """How hard passwords are to guess."""

    def score(self, password: str, hints: Sequence[str]) -> int:
        """Return 0 (guessed at once) to 4 (very hard), where `hints` are guessed first."""


class OneTimeCodes(Protocol):
    """Time-based one-time codes (RFC 6238)."""

    def new_secret(self) -> str:
        """Return a random secret, in base32."""

    def uri(self, secret: str, username: str) -> str:
        """Return what an authenticator reads: `otpauth://totp/…`."""

    def step(self, secret: str, code: str, now: float) -> int | None:
        """Return the time step of a code that is right now, or within one step of it."""


class Vault(Protocol):
    """Secrets that must be stored so that they can be read again."""

    def seal(self, plain: bytes, purpose: str) -> str:
        """Return text that only `open` with the same purpose can read."""

    def open(self, sealed: str, purpose: str) -> bytes:
        """Return what was sealed.

        Raises:
            Unsealable: it was sealed with another key or purpose, or tampered with.
        """


class Outbox(Protocol):
    """Letters that wait to be sent. Every method can raise `UsersUnavailable`."""

    def put(self, letter: Letter) -> None:
        """Keep a letter until it has been sent."""


@dataclass(frozen=True, slots=True)
class MailToken:
    """What a token of a mail proves: that this user reads mail at this address."""

    user_id: int
    purpose: str
    email: str


@dataclass(frozen=True, slots=True)
class Claims:
    """What a genuine, unexpired access token says. Times in seconds since the epoch."""

    user_id: int
    session_id: str
    token_id: str
    issued_at: int
    expires_at: int
    username: str
    issuer: str = ""


class TokenIssuer(Protocol):
    """Access tokens. Every method can raise `UsersUnavailable`, where keys are stored."""

    def prepare(self) -> None:
        """Store what `issue` may need, before a transaction in which it is called."""

    def issue(
        self, user: User, session_id: str, token_id: str, issued_at: int, expires_at: int
    ) -> str:
        """Return a signed token; times in seconds since the epoch."""

    def decode(self, token: str) -> Claims:
        """Return the claims of a genuine, unexpired token.

        Raises:
            InvalidToken: it is anything else.
        """

    def public_keys(self) -> list[dict[str, str]]:
        """Return the keys that others can check tokens with (RFC 7517)."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session, also called a family: all tokens that renew one another.

    Args:
        id: cannot be guessed.
        user_id: whose it is.
        epoch: the user's epoch when it was opened.
        created_at: seconds since the epoch; also the next.
        last_used_at: by about a minute.
        address: where it was last opened or renewed from.
        user_agent: with what.
    """

    id: str
    user_id: int
    epoch: int
    created_at: int
    last_used_at: int
    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Renewal:
    """What came of a refresh token.

    Args:
        generation: the one whose token is good now; None if the family has ended.
        replayed: whether it ended because an old token came back too late.
        epoch: the user's epoch when the session was opened.
        left: seconds until the family ends, used or not.
    """

    generation: int | None
    replayed: bool = False
    epoch: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Use:
    """What came of using a live session.

    Args:
        epoch: the user's epoch when the session was opened.
        left: seconds until it ends unless it is used again; None if it does not slide.
    """

    epoch: int
    left: int | None = None


class SessionStore(Protocol):
    """The sessions behind tokens. Every method can raise `SessionsUnavailable`."""

    def check(self) -> None:
        """Do nothing, if the store answers."""

    def open(self, session: Session, lifetime: int, longest: int, *, sliding: bool = False) -> None:
        """Keep a session, in its first generation, or sliding: then it has no generations.

        Args:
            session: which.
            lifetime: seconds until it ends unless it is renewed; of a sliding session, used.
            longest: seconds until it ends, renewed and used or not.
            sliding: whether each use lets its lifetime begin anew.
        """

    def touch(self, user_id: int, session_id: str) -> Use | None:
        """Use a session now, and return what came of it; None if it is not live."""

    def renew(
        self,
        user_id: int,
        session_id: str,
        generation: int,
        lifetime: int,
        grace: int,
        client: Client,
    ) -> Renewal:
        """Replace a generation by the next, in one indivisible step.

        The first use of the newest generation makes the next one. Another use within
        `grace` seconds of the first changes nothing. A later one ends the family.
        """

    def look(self, user_id: int, session_id: str) -> Renewal:
        """Return what using the newest generation would begin from, and change nothing."""

    def move(self, user_id: int, session_id: str, epoch: int) -> None:
        """Let a live session go on in another epoch."""

    def close(self, user_id: int, session_id: str) -> bool:
        """End a session now; tell whether it was live."""

    def close_all(self, user_id: int, keep: str | None = None) -> None:
        """End all sessions of a user, but one."""

    def of(self, user_id: int) -> list[Session]:
        """Return the user's live sessions, the newest first."""


class CaptchaStore(Protocol):
    """The live captchas. Every method can raise `CaptchasUnavailable`."""

    def put(self, captcha_id: str, record: str, client: str, lifetime: int, most: int) -> None:
        """Keep what is known of a captcha for `lifetime` seconds.

        Raises:
            TooManyCaptchas: the client holds `most` already; nothing was kept.
            Overloaded: too many live, whoever asked for them; nothing was kept.
        """

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


@dataclass(frozen=True, slots=True)
class Window:
    """A rate: `most` requests within `seconds`, under a name that is counted by itself."""

    name: str
    most: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Counted:
    """The requests of a window so far, and when it ends, in seconds since the epoch."""

    count: int
    ends_at: float


class RateCounters(Protocol):
    """The counters behind the rate limits."""

    def count(self, client: str, windows: Sequence[Window]) -> list[Counted]:
        """Count a request of a client in each window, up to the first that is full.

        It is counted in any case, somewhere. Nothing is raised.
        """
