"""The keys that sign access tokens: sealed in the database, and a copy in each process.

All keys stand in one line of time, whatever their algorithms: a key signs from its
`signs_from` until that of the next one. A key that is taken up again, because the
algorithm was set back, is moved to the end of the line before it signs.
"""

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from sqlalchemy import Connection, Row, delete, insert, select, update

from authsvc.core.errors import Unsealable, UsersUnavailable
from authsvc.core.ports import Clock
from authsvc.infra.connections import connected, fetch
from authsvc.infra.database import SigningKeyRow
from authsvc.infra.jwt import CLOCK_SKEW_SECONDS, KEY_ALGORITHMS, SigningKey, make_key
from authsvc.infra.vault import Vault

CACHE_SECONDS = 30
"""How long a process relies on its copy."""

_PAUSE_SECONDS = 1
_NEVER = float("-inf")
_log = logging.getLogger(__name__)
_Row = Row[str, str, str, int, int]

_STORED = select(
    SigningKeyRow.kid,
    SigningKeyRow.algorithm,
    SigningKeyRow.private_key,
    SigningKeyRow.created_at,
    SigningKeyRow.signs_from,
).order_by(SigningKeyRow.signs_from, SigningKeyRow.kid)


class NothingToRotate(Exception):
    """Tokens are signed with the secret of the settings, not with a stored key."""


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """What an operator may know of a stored key. Times in seconds since the epoch.

    Args:
        kid: its thumbprint.
        algorithm: the only one that it is used with.
        state: `published` (signs later), `signing`, `retired` (checks what it signed), or
            `unreadable` (sealed with another secret: neither signs nor checks).
        created_at: when it was made.
        signs_from: when it begins to sign, or last began to.
        ends_at: when the last token that it signed has expired; None if it is not known yet.
    """

    kid: str
    algorithm: str
    state: str
    created_at: int
    signs_from: int
    ends_at: int | None


@dataclass(frozen=True, slots=True)
class _Line:
    """The readable keys in their order, as they were stored at a time."""

    keys: tuple[SigningKey, ...]
    read_at: float

    def is_fresh(self, now: float) -> bool:
        return abs(now - self.read_at) <= CACHE_SECONDS

    def find(self, kid: str) -> SigningKey | None:
        return next((key for key in self.keys if key.kid == kid), None)

    def signer(self, now: float, algorithm: str) -> SigningKey | None:
        ready = (key for key in reversed(self.keys) if key.signs_from <= now)
        return next((key for key in ready if key.algorithm == algorithm), None)

    def is_replaced(self, key: SigningKey, now: float) -> bool:
        replaced_at = self.replaced_at(key)
        return replaced_at is not None and replaced_at <= now

    def replaced_at(self, key: SigningKey) -> int | None:
        later = self.keys[self.keys.index(key) + 1 :]
        return later[0].signs_from if later else None


class SigningKeys:
    """Meets `authsvc.infra.jwt.KeyRing`. Every method can raise `UsersUnavailable`.

    Args:
        vault: seals the private halves.
        algorithm: what signs from now on; with `HS256`, no stored key does.
        clock: decides which key signs.
        token_lifetime: of the tokens that are signed, the longest, in seconds.
        publish_seconds: how long the key of `rotate` is known to all before it signs.
    """

    def __init__(
        self,
        vault: Vault,
        algorithm: str,
        clock: Clock,
        *,
        token_lifetime: int,
        publish_seconds: int = 600,
    ) -> None:
        self._vault = vault
        self._algorithm = algorithm
        self._clock = clock
        self._kept_seconds = token_lifetime + CLOCK_SKEW_SECONDS + CACHE_SECONDS
        self._publish_seconds = publish_seconds
        self._lock = threading.Lock()
        self._line = _Line((), _NEVER)
        self._missed_at = self._failed_at = _NEVER
        self._reported: set[str] = set()

    def signing_key(self) -> SigningKey | None:
        """Return the key that signs now, which is made if there is none; None for HS256."""
        if self._algorithm not in KEY_ALGORITHMS:
            return None
        now, line = self._clock(), self._line
        key = line.signer(now, self._algorithm)
        if key is None or line.is_replaced(key, now) or not line.is_fresh(now):
            with self._lock:
                key = self._settled_signer()
        return key

    def find(self, kid: str) -> SigningKey | None:
        """Return the key of this id, which another node may have made just now."""
        return self._usable_line().find(kid) or self._seek(kid)

    def public_keys(self) -> list[dict[str, str]]:
        """Return the public halves of all keys that have, or will have, live tokens."""
        line, now = self._usable_line(), self._clock()
        return [key.jwk for key in line.keys if not self._has_ended(key, line, now)]

    def statuses(self) -> list[KeyStatus]:
        """Return what is stored now, in the order of signing."""
        rows = fetch(_STORED)
        now = self._clock()
        line = _Line(self._opened(rows), now)
        return [self._status(row, line, now) for row in rows]

    def rotate(self, now: float) -> SigningKey:
        """Store a key that signs later, and drop those whose last token has expired.

        Args:
            now: seconds since the epoch.

        Returns:
            The new key.

        Raises:
            NothingToRotate: HS256 signs.
        """
        if self._algorithm not in KEY_ALGORITHMS:
            raise NothingToRotate
        new = make_key(self._algorithm, int(now), int(now) + self._publish_seconds)
        with connected(writes=True) as connection:
            self._insert(connection, new)
            line = _Line(self._opened(connection.execute(_STORED).all()), now)
            ended = [key.kid for key in line.keys if self._has_ended(key, line, now)]
            connection.execute(delete(SigningKeyRow).where(SigningKeyRow.kid.in_(ended)))
            connection.commit()
        return new

    def _settled_signer(self) -> SigningKey | None:
        """Return the key that signs now, and see to it that it is the last of the line."""
        now = int(self._clock())
        if not self._line.is_fresh(now):
            self._read()
        key = self._line.signer(now, self._algorithm)
        if key is None:
            self._add(make_key(self._algorithm, now, now))
            self._read()
        elif self._line.is_replaced(key, now):
            self._move_to_the_end(key, now)
            self._read()
        return self._line.signer(now, self._algorithm)

    def _add(self, key: SigningKey) -> None:
        with connected(writes=True) as connection:
            self._insert(connection, key)
            connection.commit()

    def _insert(self, connection: Connection, key: SigningKey) -> None:
        secret = key.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        connection.execute(
            insert(SigningKeyRow).values(
                kid=key.kid,
                algorithm=key.algorithm,
                private_key=self._vault.seal(secret, _purpose(key.kid, key.algorithm)),
                public_key=json.dumps(key.jwk),
                created_at=key.created_at,
                signs_from=key.signs_from,
            )
        )

    def _move_to_the_end(self, key: SigningKey, now: int) -> None:
        earlier = (SigningKeyRow.kid == key.kid) & (SigningKeyRow.signs_from < now)
        with connected(writes=True) as connection:
            connection.execute(update(SigningKeyRow).where(earlier).values(signs_from=now))
            connection.commit()

    def _usable_line(self) -> _Line:
        """Return a copy, which may be old while the database is silent: it is good for checking."""
        if not self._line.is_fresh(self._clock()):
            with self._lock:
                self._renew()
        return self._line

    def _renew(self) -> None:
        if self._line.is_fresh(self._clock()):
            return
        try:
            self._read()
        except UsersUnavailable:
            if self._line.read_at == _NEVER:
                raise

    def _seek(self, kid: str) -> SigningKey | None:
        """Look for a key in the database, in vain at most once a second."""
        with self._lock:
            key = self._line.find(kid)
            if key is None and abs(self._clock() - self._missed_at) >= _PAUSE_SECONDS:
                self._read()
                key = self._line.find(kid)
                if key is None:
                    self._missed_at = self._clock()
            return key

    def _read(self) -> None:
        now = self._clock()
        if abs(now - self._failed_at) < _PAUSE_SECONDS:
            raise UsersUnavailable
        try:
            rows = fetch(_STORED)
        except UsersUnavailable:
            self._failed_at = self._clock()
            raise
        self._line = _Line(self._opened(rows), now)

    def _opened(self, rows: Sequence[_Row]) -> tuple[SigningKey, ...]:
        keys = (self._key(row) for row in rows)
        return tuple(key for key in keys if key is not None)

    def _key(self, row: _Row) -> SigningKey | None:
        try:
            secret = self._vault.open(row.private_key, _purpose(row.kid, row.algorithm))
        except Unsealable:
            self._report(row.kid)
            return None
        # Whatever the vault opens was made here; the check would cost more than all the rest.
        private_key = load_der_private_key(secret, None, unsafe_skip_rsa_key_validation=True)
        return SigningKey(row.kid, row.algorithm, private_key, row.created_at, row.signs_from)

    def _report(self, kid: str) -> None:
        if kid not in self._reported:
            self._reported.add(kid)
            _log.error(
                "signing key %s neither signs nor checks tokens: it was sealed with another "
                "AUTHSVC_JWT_SECRET, or changed in the database",
                kid,
            )

    def _status(self, row: _Row, line: _Line, now: float) -> KeyStatus:
        key = line.find(row.kid)
        return KeyStatus(
            kid=row.kid,
            algorithm=row.algorithm,
            state="unreadable" if key is None else self._state(key, line, now),
            created_at=row.created_at,
            signs_from=row.signs_from,
            ends_at=None if key is None else self._ends_at(key, line),
        )

    def _state(self, key: SigningKey, line: _Line, now: float) -> str:
        if key.signs_from > now:
            return "published"
        return "signing" if key == line.signer(now, self._algorithm) else "retired"

    def _has_ended(self, key: SigningKey, line: _Line, now: float) -> bool:
        ends_at = self._ends_at(key, line)
        return ends_at is not None and ends_at <= now

    def _ends_at(self, key: SigningKey, line: _Line) -> int | None:
        replaced_at = line.replaced_at(key)
        return None if replaced_at is None else replaced_at + self._kept_seconds


def _purpose(kid: str, algorithm: str) -> str:
    return f"signing key {kid} {algorithm}"
