"""Secrets that are stored so that they can be read again, sealed with AES-256-GCM."""

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from authsvc.core.errors import Unsealable

_VERSION = "v1."
_NONCE_BYTES = 12


class Vault:
    """Meets `authsvc.core.ports.Vault`.

    Args:
        secret: the key of all keys; whoever has it can open everything that was sealed.
    """

    def __init__(self, secret: str) -> None:
        derived = HKDF(SHA256(), length=32, salt=None, info=b"authsvc vault v1")
        self._cipher = AESGCM(derived.derive(secret.encode()))

    def seal(self, plain: bytes, purpose: str) -> str:
        """Return text that only `open` with the same purpose can read; another text each time."""
        nonce = os.urandom(_NONCE_BYTES)
        return _written(nonce + self._cipher.encrypt(nonce, plain, purpose.encode()))

    def open(self, sealed: str, purpose: str) -> bytes:
        """Return what was sealed.

        Raises:
            Unsealable: it was sealed with another secret or purpose, or tampered with.
        """
        try:
            content = base64.urlsafe_b64decode(sealed.removeprefix(_VERSION))
            # Decoding forgives much that `seal` never writes.
            if sealed != _written(content):
                raise Unsealable
            nonce, rest = content[:_NONCE_BYTES], content[_NONCE_BYTES:]
            return self._cipher.decrypt(nonce, rest, purpose.encode())
        except (InvalidTag, ValueError) as error:
            raise Unsealable from error


def _written(content: bytes) -> str:
    return _VERSION + base64.urlsafe_b64encode(content).decode()
