"""Access and refresh tokens: whatever they are, they are genuine or refused.

python -m tests.hostile.fuzz_tokens FOLDER -max_total_time=60
"""

import base64
import hmac
from contextlib import suppress

from tests.hostile.fuzzing import fuzz, instrumented, text_of

with instrumented():  # type: ignore[attr-defined]
    from flask import Flask

    from authsvc.core.errors import InvalidRefreshToken, InvalidToken
    from authsvc.core.sessions import Sessions
    from authsvc.infra.jwt import JwtIssuer
    from tests.core.test_sessions import HERE, KEY, POLICY, World

SECRET = "a signing key for tests, long enough"


class NoKeys:
    """Signing keys where the secret signs."""

    def signing_key(self) -> None:
        """Says that the secret signs."""

    def find(self, _: str) -> None:
        """Knows none."""

    def public_keys(self) -> list[dict[str, str]]:
        """Publishes none."""
        return []


world = World()
issuer = JwtIssuer(Flask("fuzz"), SECRET, "authsvc", world.clock, NoKeys())
sessions = Sessions(world.store, issuer, world.users, world.audit, world.clock, KEY, POLICY)


def base64url(data: bytes) -> str:
    """Returns bytes as the parts of a token have them."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def ask(token: str) -> None:
    """Uses text wherever a token is taken."""
    with suppress(InvalidToken):
        sessions.who_is(token)
    with suppress(InvalidToken):
        sessions.revoke(token)
    with suppress(InvalidRefreshToken):
        sessions.session_of(token)
    with suppress(InvalidRefreshToken):
        sessions.refresh(token, HERE)
    sessions.inspect(token)


def any_text(data: bytes) -> None:
    """Text that is no token."""
    ask(text_of(data))


def genuine_claims(data: bytes) -> None:
    """Claims of any form, signed with the very secret."""
    ask(signed(b'{"alg":"HS256","typ":"JWT"}', data))


def genuine_header(data: bytes) -> None:
    """A header of any form, signed with the very secret."""
    ask(signed(data, b"{}"))


def signed(header: bytes, claims: bytes) -> str:
    """Returns a token whose signature is right."""
    content = f"{base64url(header)}.{base64url(claims)}"
    return f"{content}.{base64url(hmac.digest(SECRET.encode(), content.encode(), 'sha256'))}"


def genuine_family(data: bytes) -> None:
    """A refresh token of any form, with the very code that proves it to be ours."""
    mac = hmac.digest(KEY, data, "sha256")
    ask(f"{text_of(data)}.{base64url(mac)}")


SEEDS = [
    b"\0eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.x",
    b"\x001.AAAAAAAAAAAAAAAAAAAAAA.0.AAAA",
    b'\1{"sub":"1","userId":"1","username":"ann","iat":1,"exp":99999999999,"jti":"j","sid":"s",'
    b'"iss":"authsvc","type":"access"}',
    b'\1{"sub":"1","exp":1e400}',
    b"\1" + b"[" * 1500,
    b"\1" + b"9" * 4400,
    b'\2{"alg":"none"}',
    b'\2{"alg":"HS256","kid":"../x","typ":"JWT"}',
    b"\2[]",
    b"\x031.AAAAAAAAAAAAAAAAAAAAAA.0",
    b"\3" + b"9" * 60 + b".AAAAAAAAAAAAAAAAAAAAAA.0",
]

if __name__ == "__main__":
    fuzz([any_text, genuine_claims, genuine_header, genuine_family], SEEDS)
