"""Password hashes that other software made, verified as it would verify them.

One form is one line of `_FORMS`: bcrypt as it is and as Django wraps it, PBKDF2 as
Django and as werkzeug write it, scrypt as werkzeug writes it. argon2 is at home in
`authsvc.infra.hashing`.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable

import bcrypt

Verifier = Callable[[bytes], bool]
"""Tells whether a password, in UTF-8, is the one that was hashed."""

_BCRYPT_COSTS = range(4, 17)
_BCRYPT_READS_BYTES = 72
_PBKDF2_ITERATIONS = range(1, 5_000_001)
_SCRYPT_MOST_BYTES = 257 * 1024 * 1024  # 256 MiB, and the blocks that lie beside them
_SCRYPT_HASH_BYTES = 64

_NUMBER = "[1-9][0-9]{0,8}"
_SALT = "(?P<salt>[!-#%-~]+)"
_BASE64 = "(?P<base64>(?:[A-Za-z0-9+/]{4})*[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)"
_HEX = "(?P<hex>(?:[0-9a-f]{2})+)"
_BCRYPT = (
    r"(?P<bcrypt>\$2[aby]\$(?P<cost>[0-9]{2})"
    r"\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26])"
)


def verifier(password_hash: str) -> Verifier | None:
    """Return what verifies passwords against the hash.

    Returns:
        None if the hash is of no form that is known here, or costs more than a
        log-in may: bcrypt's cost is 4 to 16, PBKDF2 takes up to 5,000,000
        iterations, scrypt up to 256 MiB over all its lanes.
    """
    for form, read in _FORMS:
        if found := form.fullmatch(password_hash):
            return read(found)
    return None


def _bcrypt(found: re.Match[str]) -> Verifier | None:
    stored = found["bcrypt"].encode()

    def verify(password: bytes) -> bool:
        # bcrypt goes on with a NUL and the password again, so that a longer password
        # with a NUL in it could pass for this one; makers of hashes refuse such.
        read = password[:_BCRYPT_READS_BYTES]
        return bcrypt.checkpw(read, stored) and b"\0" not in read

    return verify if int(found["cost"]) in _BCRYPT_COSTS else None


def _bcrypt_sha256(found: re.Match[str]) -> Verifier | None:
    verify = _bcrypt(found)
    if verify is None:
        return None
    return lambda password: verify(hashlib.sha256(password).hexdigest().encode())


def _django_pbkdf2(found: re.Match[str]) -> Verifier | None:
    return _pbkdf2(found, base64.b64decode(found["base64"]))


def _werkzeug_pbkdf2(found: re.Match[str]) -> Verifier | None:
    return _pbkdf2(found, bytes.fromhex(found["hex"]))


def _pbkdf2(found: re.Match[str], stored: bytes) -> Verifier | None:
    digest, iterations, salt = found["digest"], int(found["iterations"]), found["salt"].encode()
    if iterations not in _PBKDF2_ITERATIONS or len(stored) != hashlib.new(digest).digest_size:
        return None
    return lambda password: hmac.compare_digest(
        stored, hashlib.pbkdf2_hmac(digest, password, salt, iterations)
    )


def _werkzeug_scrypt(found: re.Match[str]) -> Verifier | None:
    n, r, p = int(found["n"]), int(found["r"]), int(found["p"])
    salt, stored = found["salt"].encode(), bytes.fromhex(found["hex"])
    needed = 128 * r * p * (n + 3)
    if not _is_scrypt(n, r) or needed > _SCRYPT_MOST_BYTES or len(stored) != _SCRYPT_HASH_BYTES:
        return None
    return lambda password: hmac.compare_digest(
        stored, hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=needed)
    )


def _is_scrypt(n: int, r: int) -> bool:
    """Tell whether RFC 7914 allows the cost `n` with blocks of the size `r`."""
    is_power_of_two = n & (n - 1) == 0
    return is_power_of_two and n > 1 and n.bit_length() <= 16 * r


_FORMS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], Verifier | None]]] = [
    (re.compile(rf"(?:bcrypt\$)?{_BCRYPT}"), _bcrypt),
    (re.compile(rf"bcrypt_sha256\${_BCRYPT}"), _bcrypt_sha256),
    (
        re.compile(
            rf"pbkdf2_(?P<digest>sha1|sha256)\$(?P<iterations>{_NUMBER})\${_SALT}\${_BASE64}"
        ),
        _django_pbkdf2,
    ),
    (
        re.compile(
            rf"pbkdf2:(?P<digest>sha1|sha256|sha512):(?P<iterations>{_NUMBER})\${_SALT}\${_HEX}"
        ),
        _werkzeug_pbkdf2,
    ),
    (
        re.compile(rf"scrypt:(?P<n>{_NUMBER}):(?P<r>{_NUMBER}):(?P<p>{_NUMBER})\${_SALT}\${_HEX}"),
        _werkzeug_scrypt,
    ),
]
