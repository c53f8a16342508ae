"""Access tokens: JWT (RFC 7519), minted with Flask-JWT-Extended, and the keys that sign them."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token

from authsvc.core.errors import InvalidToken
from authsvc.core.ports import Claims, Clock
from authsvc.core.users import User

CLOCK_SKEW_SECONDS = 90
"""How far apart the clocks of two nodes may be."""
TOKEN_MAX_LENGTH = 8192

_SECRET_ALGORITHM = "HS256"  # noqa: S105
_MAKERS: dict[str, Callable[[], Any]] = {
    "EdDSA": Ed25519PrivateKey.generate,
    "ES256": partial(ec.generate_private_key, ec.SECP256R1()),
    "RS256": partial(rsa.generate_private_key, public_exponent=65537, key_size=2048),
}
KEY_ALGORITHMS = frozenset(_MAKERS)
"""What can sign instead of the secret."""

_JWK_MEMBERS = {
    "EdDSA": ("crv", "kty", "x"),
    "ES256": ("crv", "kty", "x", "y"),
    "RS256": ("e", "kty", "n"),
}
_TEXTS = ("iss", "jti", "sid", "sub", "type", "userId", "username")
_TIMES = ("exp", "iat")
_USER_ID = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that was made here, and the only algorithm that it is used with.

    Args:
        kid: the thumbprint of its public half (RFC 7638).
        algorithm: one of `KEY_ALGORITHMS`.
        private_key: what signs.
        created_at: seconds since the epoch; also the next.
        signs_from: when it signs, until another one does.
    """

    kid: str
    algorithm: str
    private_key: Any = field(repr=False)
    created_at: int
    signs_from: int

    @property
    def public_key(self) -> Any:
        """Return what checks."""
        return self.private_key.public_key()

    @property
    def jwk(self) -> dict[str, str]:
        """Return the public half as others read it (RFC 7517)."""
        half = _public_half(self.algorithm, self.private_key)
        return half | {"kid": self.kid, "use": "sig", "alg": self.algorithm}


def make_key(algorithm: str, created_at: int, signs_from: int) -> SigningKey:
    """Return a new key; times in seconds since the epoch."""
    private_key = _MAKERS[algorithm]()
    half = json.dumps(_public_half(algorithm, private_key), sort_keys=True, separators=(",", ":"))
    thumbprint = hashlib.sha256(half.encode()).digest()
    kid = base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
    return SigningKey(kid, algorithm, private_key, created_at, signs_from)


def _public_half(algorithm: str, private_key: Any) -> dict[str, str]:
    jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(private_key.public_key(), as_dict=True)
    return {member: jwk[member] for member in _JWK_MEMBERS[algorithm]}


class KeyRing(Protocol):
    """The keys by which nodes know one another's tokens. Can raise `UsersUnavailable`."""

    def signing_key(self) -> SigningKey | None:
        """Return the key that signs now; None if the secret does."""

    def find(self, kid: str) -> SigningKey | None:
        """Return the key of this id."""

    def public_keys(self) -> list[dict[str, str]]:
        """Return the public halves of the keys that are in use (RFC 7517)."""


@dataclass(frozen=True, slots=True)
class _Signer:
    """What signs a token and checks it, and the only header that such a token has."""

    signs: Any
    checks: Any
    header: dict[str, str]

    @classmethod
    def of_secret(cls, secret: str) -> "_Signer":
        prepared = jwt.get_algorithm_by_name(_SECRET_ALGORITHM).prepare_key(secret)
        return cls(secret, prepared, {"alg": _SECRET_ALGORITHM, "typ": "JWT"})

    @classmethod
    def of_key(cls, key: SigningKey) -> "_Signer":
        header = {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}
        return cls(key.private_key, key.public_key, header)

    def signed(self, text: str, signature: bytes) -> bool:
        """Tell whether the signature is this signer's, by the signer's own algorithm."""
        algorithm = jwt.get_algorithm_by_name(self.header["alg"])
        return algorithm.verify(text.encode(), self.checks, signature)


@dataclass(frozen=True, slots=True)
class _Subject:
    user_id: str
    signer: _Signer


class JwtIssuer:
    """Meets `authsvc.core.ports.TokenIssuer`.

    Args:
        app: the application that mints.
        secret: the HS256 key. It checks every token without a `kid`, and no other.
        issuer: the `iss` of every token.
        clock: decides when a token has expired, without any leeway.
        keys: sign instead of the secret, when they say so.
    """

    def __init__(self, app: Flask, secret: str, issuer: str, clock: Clock, keys: KeyRing) -> None:
        app.config.update(
            JWT_SECRET_KEY=secret,
            JWT_ENCODE_ISSUER=issuer,
            JWT_ENCODE_NBF=False,
            JWT_COOKIE_CSRF_PROTECT=False,
        )
        manager = JWTManager(app)
        manager.user_identity_loader(lambda subject: subject.user_id)
        manager.encode_key_loader(lambda subject: subject.signer.signs)
        self._secret = _Signer.of_secret(secret)
        self._issuer = issuer
        self._clock = clock
        self._keys = keys

    def prepare(self) -> None:
        """Make what `issue` would have to store, before a transaction that it is called in."""
        self._keys.signing_key()

    def issue(
        self, user: User, session_id: str, token_id: str, issued_at: int, expires_at: int
    ) -> str:
        """Return a signed token; times in seconds since the epoch."""
        key = self._keys.signing_key()
        signer = self._secret if key is None else _Signer.of_key(key)
        claims = {
            "userId": str(user.id),
            "username": user.username,
            "iat": issued_at,
            "exp": expires_at,
            "jti": token_id,
            "sid": session_id,
        }
        token: str = create_access_token(
            _Subject(str(user.id), signer),
            additional_claims=claims,
            additional_headers=signer.header,
        )
        return token

    def decode(self, token: str) -> Claims:
        """Return the claims of a genuine, unexpired token."""
        if not isinstance(token, str) or len(token) > TOKEN_MAX_LENGTH:
            raise InvalidToken
        try:
            return self._claims(self._verified(token))
        except (ValueError, RecursionError) as error:
            raise InvalidToken from error

    def public_keys(self) -> list[dict[str, str]]:
        """Return the keys that others can check tokens with (RFC 7517)."""
        return self._keys.public_keys()

    def _verified(self, token: str) -> dict[str, Any]:
        """Return what a genuine token says.

        PyJWT's own `decode` reads the header that chooses the key a second time, and prepares
        the key again for each token: five times the cost in all.
        """
        signed, _, signature = token.rpartition(".")
        head, _, payload = signed.partition(".")
        header = _header(head)
        signer = self._signer(header.get("kid"))
        if header != signer.header or not signer.signed(signed, _decoded(signature)):
            raise InvalidToken
        said = json.loads(_decoded(payload))
        if not isinstance(said, dict):
            raise InvalidToken
        return said

    def _signer(self, kid: str | None) -> _Signer:
        if kid is None:
            return self._secret
        key = self._keys.find(kid)
        if key is None:
            raise InvalidToken
        return _Signer.of_key(key)

    def _claims(self, said: dict[str, Any]) -> Claims:
        texts = [said.get(name) for name in _TEXTS]
        times = [said.get(name) for name in _TIMES]
        if not all(type(text) is str and text for text in texts):
            raise InvalidToken
        if not all(type(time) is int for time in (*times, said.get("nbf", 0))):
            raise InvalidToken
        self._require_now(said)
        if said["iss"] != self._issuer or "aud" in said:
            raise InvalidToken
        if said["type"] != "access" or said["userId"] != said["sub"]:
            raise InvalidToken
        if not _USER_ID.fullmatch(said["sub"]):
            raise InvalidToken
        return Claims(
            user_id=int(said["sub"]),
            session_id=said["sid"],
            token_id=said["jti"],
            issued_at=said["iat"],
            expires_at=said["exp"],
            username=said["username"],
            issuer=said["iss"],
        )

    def _require_now(self, said: dict[str, Any]) -> None:
        now = self._clock()
        begins_at = max(said["iat"], said.get("nbf", 0))
        if said["exp"] <= now or begins_at > now + CLOCK_SKEW_SECONDS:
            raise InvalidToken


@lru_cache(maxsize=32)
def _header(segment: str) -> dict[str, Any]:
    """Return a token's header, of which there are as many as there are keys."""
    header = json.loads(_decoded(segment))
    if not isinstance(header, dict) or not isinstance(header.get("kid", ""), str):
        raise InvalidToken
    return header


def _decoded(segment: str) -> bytes:
    """Return the bytes of a segment, which has one spelling (RFC 4648, section 3.5)."""
    data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != segment:
        raise InvalidToken
    return data
