"""Password hashes: argon2id, and no more of them at once than the machine has cores.

Hashes that other software made are verified too, and told apart by their form.
"""

import logging
import re
import secrets
from contextlib import AbstractContextManager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from authsvc.infra import foreign_hashes
from authsvc.infra.hash_queue import HashObserver, HashQueue, HashSlots, Unobserved

__all__ = ["Argon2Hasher", "HashObserver", "HashSlots"]

DEFAULT_PLACES = 64
"""How many requests of one process may wait or hash."""

_LONGEST_HASH = 255
_MOST_MEMORY_KIB = 256 * 1024
_MOST_MEMORY_PASSES_KIB = 4 * _MOST_MEMORY_KIB
_MOST_LANES = 16
_NUMBER = "[1-9][0-9]{0,6}"
_BASE64 = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048])?"
_ARGON2 = re.compile(
    rf"\$argon2(?:id|i|d)\$v=19\$m=(?P<m>{_NUMBER}),t=(?P<t>{_NUMBER}),p=(?P<p>{_NUMBER})"
    rf"\$(?=[^$]{{11}}){_BASE64}\$(?=.{{22}}){_BASE64}"
)
_log = logging.getLogger(__name__)


class Argon2Hasher:
    """Meets `authsvc.core.ports.PasswordHasher` with argon2id.

    Args:
        slots: bounds how many hashes are computed at once.
        memory_kib, time_cost, parallelism: argon2's m, t and p.
        places: how many requests of this process may wait or hash.
        observer: is told about each hash.
    """

    def __init__(
        self,
        slots: HashSlots,
        *,
        memory_kib: int,
        time_cost: int,
        parallelism: int,
        places: int = DEFAULT_PLACES,
        observer: HashObserver | None = None,
    ) -> None:
        self._queue = HashQueue(slots, places, observer or Unobserved())
        self._argon2 = PasswordHasher(
            memory_cost=memory_kib, time_cost=time_cost, parallelism=parallelism
        )
        self._decoy = self._argon2.hash(secrets.token_hex(16))

    def admission(self) -> AbstractContextManager[None]:
        """Keep one place in the queue for all that this thread hashes within the block.

        Raises:
            Overloaded: on entering, at once.
        """
        return self._queue.admission()

    def hash(self, password: str) -> str:
        """Return a salted hash that tells its own algorithm and parameters."""
        return self._queue.run(lambda: self._argon2.hash(password))

    def verify(self, password_hash: str, password: str) -> bool:
        """Tell whether the password is the one that was hashed, here or elsewhere."""
        return self._queue.run(lambda: self._verify(password_hash, password))

    def _verify(self, password_hash: str, password: str) -> bool:
        verify_foreign = foreign_hashes.verifier(password_hash)
        if verify_foreign is not None:
            return verify_foreign(password.encode())
        return self._verify_argon2(password_hash, password)

    def _verify_argon2(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(_plain(password_hash).encode("ascii", "replace"), password)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError):
            _log.exception("a stored password hash cannot be read")
            return False

    def verify_decoy(self) -> None:
        """Cost what `verify` costs, for a user who is not there."""
        self.verify(self._decoy, "")

    def needs_rehash(self, password_hash: str) -> bool:
        """Tell whether the hash was made elsewhere, or with other parameters than today's."""
        try:
            return self._argon2.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    def is_known(self, password_hash: str) -> bool:
        """Tell whether a hash that was made elsewhere can be verified here.

        Beside what `foreign_hashes.verifier` lists, argon2 can, also as Django writes
        it: with today's parameters, or with up to 256 MiB, sixteen lanes, and as
        many passes as go over 1 GiB in all. A hash of more than 255 characters is
        not known, as it could not be stored.
        """
        if len(password_hash) > _LONGEST_HASH:
            return False
        if foreign_hashes.verifier(password_hash) is not None:
            return True
        found = _ARGON2.fullmatch(_plain(password_hash))
        return found is not None and (
            _is_bounded(found) or not self.needs_rehash(_plain(password_hash))
        )


def _plain(password_hash: str) -> str:
    """Return an argon2 hash without the prefix that Django gives it."""
    return password_hash.removeprefix("argon2")


def _is_bounded(found: re.Match[str]) -> bool:
    memory, passes, lanes = int(found["m"]), int(found["t"]), int(found["p"])
    return (
        8 * lanes <= memory <= _MOST_MEMORY_KIB
        and memory * passes <= _MOST_MEMORY_PASSES_KIB
        and lanes <= _MOST_LANES
    )
