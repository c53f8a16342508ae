"""Password hashes: argon2id, and no more of them at once than the machine has cores.

Hashes that other software made are verified too, and told apart by their form.
"""

import contextlib
import fcntl
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from authsvc.core.errors import Overloaded
from authsvc.infra import foreign_hashes
from authsvc.infra.redis_supervisor import make_private

_POLL_SECONDS = 0.002

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


class HashSlots:
    """So many hashes at once, over all processes that share a folder.

    A slot is an advisory lock on a file, so that a process that is killed
    gives its slot back.

    Args:
        folder: where the lock files lie; private to the service.
        count: slots.
        wait: seconds after which waiting for a slot is given up.
    """

    def __init__(self, folder: Path, count: int, wait: float) -> None:
        self._files = [folder / f"hash-slot-{number}" for number in range(count)]
        self._wait = wait
        self._own = threading.BoundedSemaphore(count)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Wait for a slot, and hold it.

        Raises:
            Overloaded: none came free in time.
        """
        deadline = time.monotonic() + self._wait
        if not self._own.acquire(timeout=self._wait):
            raise self._overloaded()
        try:
            descriptor = self._lock_one(deadline)
            try:
                yield
            finally:
                os.close(descriptor)
        finally:
            self._own.release()

    def _lock_one(self, deadline: float) -> int:
        while True:
            for file in self._files:
                if (descriptor := _try_lock(file)) is not None:
                    return descriptor
            if time.monotonic() >= deadline:
                raise self._overloaded()
            time.sleep(_POLL_SECONDS)

    def _overloaded(self) -> Overloaded:
        return Overloaded(retry_after=max(1, round(self._wait)))


def _try_lock(file: Path) -> int | None:
    try:
        descriptor = _open(file)
    except FileNotFoundError:  # old temporary folders are cleaned away on some systems
        make_private(file.parent)
        descriptor = _open(file)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Argon2Hasher:
    """Meets `authsvc.core.ports.PasswordHasher` with argon2id.

    Args:
        slots: bounds how many hashes are computed at once.
        memory_kib, time_cost, parallelism: argon2's m, t and p.
    """

    def __init__(
        self, slots: HashSlots, *, memory_kib: int, time_cost: int, parallelism: int
    ) -> None:
        self._slots = slots
        self._argon2 = PasswordHasher(
            memory_cost=memory_kib, time_cost=time_cost, parallelism=parallelism
        )
        self._decoy = self._argon2.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        """Return a salted hash that tells its own algorithm and parameters."""
        with self._slots.hold():
            return self._argon2.hash(password)

    def verify(self, password_hash: str, password: str) -> bool:
        """Tell whether the password is the one that was hashed, here or elsewhere."""
        with self._slots.hold():
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
