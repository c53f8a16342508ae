"""Small real stand-ins for everything outside, which keep the ports' promises in memory."""

import itertools
import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from authsvc.core.audit import Entry
from authsvc.core.errors import (
    EmailTaken,
    InvalidToken,
    Overloaded,
    TooManyCaptchas,
    UnknownUser,
    UsernameTaken,
)
from authsvc.core.ports import Change, Claims, Note, UserQuery, Work, no_note
from authsvc.core.users import NewUser, User

T = TypeVar("T")

START = 1_800_000_000.0


class FakeClock:
    """A clock that stands still until it is put forward."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Expiring:
    """Values under keys, each forgotten when its time is over."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[float, Any]] = {}

    def put(self, key: str, value: Any, lifetime: float) -> None:
        self._held[key] = (self._clock() + lifetime, value)

    def get(self, key: str) -> Any:
        ends, value = self._held.get(key, (0.0, None))
        return value if ends > self._clock() else None

    def pop(self, key: str) -> Any:
        value = self.get(key)
        self._held.pop(key, None)
        return value


class FakeUsers:
    """Meets `Users`. One transaction at a time, like SQLite."""

    def __init__(self) -> None:
        self._stored: dict[int, tuple[User, NewUser]] = {}
        self._ids = itertools.count(1)
        self._lock = threading.RLock()
        self.notes: list[Note] = []

    def add(
        self,
        new_user: NewUser,
        password_hash: str,
        finish: Callable[[User], T],
        note: Callable[[User, User | None], Note] = no_note,
        by: int | None = None,
    ) -> tuple[User, T]:
        with self._lock:
            self._refuse_taken(new_user)
            user = User(
                id=next(self._ids),
                username=new_user.username,
                email=new_user.email,
                permission=new_user.permission,
                data=new_user.data,
                password_hash=password_hash,
                email_verified=new_user.email_verified,
                disabled=new_user.disabled,
            )
            self.notes.append(note(user, None if by is None else self.by_id(by)))
            finished = finish(user)
            self._stored[user.id] = (user, new_user)
            return user, finished

    def by_username_key(self, key: str) -> User | None:
        return self._first(lambda made_of: made_of.username_key == key)

    def by_login_key(self, key: str) -> User | None:
        reached = self.by_email_key(key)
        return self.by_username_key(key) or (
            reached if reached and reached.email_verified else None
        )

    def by_email_key(self, key: str) -> User | None:
        return self._first(lambda made_of: made_of.email_key == key)

    def by_id(self, user_id: int) -> User | None:
        user, _ = self._stored.get(user_id, (None, None))
        return user

    def replace_hash(self, user: User, password_hash: str) -> None:
        with self._lock:
            stored, made_of = self._stored.get(user.id, (None, None))
            if stored and made_of and stored.password_hash == user.password_hash:
                self._stored[user.id] = (replace(stored, password_hash=password_hash), made_of)

    def find(self, query: UserQuery) -> list[User]:
        return [user for user, _ in self._stored.values() if user.id > query.after_id]

    def edit(
        self, user_id: int, decide: Callable[[User, User | None], Change], by: int | None = None
    ) -> User | None:
        with self._lock:
            user = self.by_id(user_id)
            if user is None:
                raise UnknownUser
            change = decide(user, None if by is None else self.by_id(by))
            self.put(user, change.after)
            self.notes.append(change.note)
            return change.after

    def put(self, user: User, after: User | None) -> None:
        """Not of the port: what happens behind the back of the core."""
        _, made_of = self._stored.pop(user.id)
        if after is not None:
            self._stored[user.id] = (after, made_of)

    def _refuse_taken(self, new_user: NewUser) -> None:
        if self.by_username_key(new_user.username_key):
            raise UsernameTaken
        key = new_user.email_key
        if key is not None and self._first(lambda made_of: made_of.email_key == key):
            raise EmailTaken

    def _first(self, holds: Callable[[NewUser], bool]) -> User | None:
        with self._lock:
            return next((user for user, made_of in self._stored.values() if holds(made_of)), None)


class FakeHasher:
    """Meets `PasswordHasher` with a hash that hides nothing."""

    def __init__(self, cost: int = 1) -> None:
        self.cost = cost
        self.overloaded_at: str | None = None

    @contextmanager
    def admission(self) -> Iterator[None]:
        self._work("admission")
        yield

    def hash(self, password: str) -> str:
        self._work("hash")
        return json.dumps([self.cost, password])

    def verify(self, password_hash: str, password: str) -> bool:
        self._work("verify")
        return bool(json.loads(password_hash)[1] == password)

    def verify_decoy(self) -> None:
        self._work("verify")

    def needs_rehash(self, password_hash: str) -> bool:
        return bool(json.loads(password_hash)[0] != self.cost)

    def _work(self, name: str) -> None:
        if self.overloaded_at == name:
            raise Overloaded(retry_after=5)


class FakeTokens:
    """Meets `TokenIssuer` with tokens that are not signed."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def prepare(self) -> None:
        pass

    def issue(
        self, user: User, session_id: str, token_id: str, issued_at: int, expires_at: int
    ) -> str:
        return json.dumps([user.id, session_id, token_id, issued_at, expires_at, user.username])

    def decode(self, token: str) -> Claims:
        try:
            claims = Claims(*json.loads(token))
        except (ValueError, TypeError):
            raise InvalidToken from None
        if claims.expires_at <= self._clock():
            raise InvalidToken
        return claims

    def public_keys(self) -> list[dict[str, str]]:
        return []


class FakeAudit:
    """Meets `AuditTrail`, and keeps the entries."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)


class FakeCaptchaStore:
    """Meets `CaptchaStore`."""

    def __init__(self, clock: FakeClock, most_live: int = 100_000) -> None:
        self._clock = clock
        self._most_live = most_live
        self._records = Expiring(clock)
        self._used = Expiring(clock)
        self._live: dict[str, dict[str, float]] = {}
        self._images: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, captcha_id: str, record: str, client: str, lifetime: int, most: int) -> None:
        with self._lock:
            live, now = self._live.setdefault(client, {}), self._clock()
            for ended in [held for held, ends in live.items() if ends <= now]:
                del live[ended]
            if len(live) >= most:
                raise TooManyCaptchas(math.ceil(min(live.values()) - now))
            if sum(len(held) for held in self._live.values()) >= self._most_live:
                raise Overloaded(1)
            live[captcha_id] = now + lifetime
            self._records.put(captcha_id, record, lifetime)

    def look(self, captcha_id: str) -> tuple[str | None, bytes | None]:
        record = self._records.get(captcha_id)
        return record, self._images.get(captcha_id) if record is not None else None

    def keep_image(self, captcha_id: str, image: bytes) -> None:
        if self._records.get(captcha_id) is not None:
            self._images[captcha_id] = image

    def take(self, captcha_id: str, client: str) -> str | None:
        with self._lock:
            self._images.pop(captcha_id, None)
            self._live.get(client, {}).pop(captcha_id, None)
            record: str | None = self._records.pop(captcha_id)
            return record

    def use(self, signature: str, lifetime: int) -> bool:
        with self._lock:
            unused = self._used.get(signature) is None
            self._used.put(signature, True, lifetime)
            return unused


class FakePainter:
    """Meets `CaptchaPainter` with a picture that says what it was made of."""

    def paint(self, answer: str, seed: bytes) -> bytes:
        return f"{answer} {seed.hex()}".encode()


class FakeSpeaker:
    """Meets `CaptchaSpeaker` with a recording that says what it was made of."""

    languages = frozenset({"en", "zh"})

    def speak(self, digits: str, seed: bytes, language: str) -> bytes:
        return f"{digits} {language} {seed.hex()}".encode()


class FakeWork:
    """Meets `ProofOfWork` with puzzles that carry their own solution."""

    def challenge(self, captcha_id: str, purpose: str, expires_at: int) -> dict[str, object]:
        return {"solution": json.dumps([captcha_id, purpose, expires_at])}

    def check(self, payload: str, captcha_id: str, purpose: str, now: float) -> Work | None:
        bound_id, bound_purpose, expires_at = json.loads(payload)
        left = int(expires_at - now)
        if (bound_id, bound_purpose) != (captcha_id, purpose) or left <= 0:
            return None
        return Work(payload, left)


class Noted:
    """Something outside, and a journal of what was asked of it; a method named in `fails` raises.

    Args:
        name: what the journal calls it.
        outside: what meets the port.
        journal: takes a line `name.method` for every call, before it is made.
        fails: method → what it raises instead of doing anything.
    """

    def __init__(
        self, name: str, outside: Any, journal: list[str], fails: dict[str, Exception]
    ) -> None:
        self._name, self._outside, self._journal, self._fails = name, outside, journal, fails

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._journal.append(f"{self._name}.{method}")
            if failure := self._fails.get(f"{self._name}.{method}"):
                raise failure
            return getattr(self._outside, method)(*arguments, **options)

        return call
