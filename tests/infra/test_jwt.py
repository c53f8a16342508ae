"""Access tokens: what they say, and every token that is not one of ours."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from flask import Flask
from flask_jwt_extended import create_refresh_token

from authsvc.core.errors import InvalidToken
from authsvc.core.ports import Claims
from authsvc.core.users import User
from authsvc.infra.jwt import CLOCK_SKEW_SECONDS, JwtIssuer
from tests.core.fakes import FakeClock

SECRET = "a key of more than thirty-two bytes"
ISSUER = "authsvc"
LIFETIME = 7200
BOB = User(id=7, username="张三", email=None, permission=0, data="{}", password_hash="hash")


@pytest.fixture
def clock() -> FakeClock:
    """The issuer's clock, right at first."""
    return FakeClock(time.time())


@pytest.fixture
def issuer(clock: FakeClock) -> Iterator[JwtIssuer]:
    """An issuer in its application's context."""
    app = Flask("authsvc", static_folder=None)
    issuer = JwtIssuer(app, SECRET, ISSUER, clock)
    with app.app_context():
        yield issuer


def issued(issuer: JwtIssuer, clock: FakeClock) -> str:
    """Return a token issued now."""
    now = int(clock())
    return issuer.issue(BOB, "session", now, now + LIFETIME)


def claims(**changed: Any) -> dict[str, Any]:
    """Return the claims of a genuine token, some of them changed; None takes one away."""
    now = int(time.time())
    genuine = {
        "fresh": False,
        "type": "access",
        "sub": "7",
        "userId": "7",
        "username": "bob",
        "iat": now,
        "exp": now + LIFETIME,
        "jti": "session",
        "iss": ISSUER,
    }
    return {name: value for name, value in (genuine | changed).items() if value is not None}


def signed(payload: Any, key: str = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    """Return a token that says this, signed with this."""
    return jwt.encode(payload, key, algorithm=algorithm, headers=header)


def part(content: bytes) -> str:
    """Return one of the three parts of a token."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def test_a_token_says_what_every_dialect_may_read_in_it(
    issuer: JwtIssuer, clock: FakeClock
) -> None:
    now = int(clock())
    token = issuer.issue(BOB, "session", now, now + LIFETIME)
    said = jwt.decode(token, SECRET, algorithms=["HS256"], issuer=ISSUER)
    expected = {
        "sub": "7",
        "userId": "7",
        "username": "张三",
        "iat": now,
        "exp": now + LIFETIME,
        "jti": "session",
        "iss": ISSUER,
    }
    assert expected.items() <= said.items()
    assert all(type(said[name]) is type(value) for name, value in expected.items())


def test_a_token_is_signed_with_hs256(issuer: JwtIssuer, clock: FakeClock) -> None:
    header = jwt.get_unverified_header(issued(issuer, clock))
    assert header == {"alg": "HS256", "typ": "JWT"}


def test_a_token_tells_its_session_and_its_user(issuer: JwtIssuer, clock: FakeClock) -> None:
    assert issuer.decode(issued(issuer, clock)) == Claims(session_id="session", user_id=7)
    assert issuer.decode(signed(claims())) == Claims(session_id="session", user_id=7)


def test_a_token_expires_at_its_second_without_any_leeway(
    issuer: JwtIssuer, clock: FakeClock
) -> None:
    token = issued(issuer, clock)
    expires_at = jwt.decode(token, options={"verify_signature": False})["exp"]
    clock.now = expires_at - 0.001
    issuer.decode(token)
    clock.now = expires_at
    with pytest.raises(InvalidToken):
        issuer.decode(token)


def test_a_token_that_expired_within_the_skew_is_refused(issuer: JwtIssuer) -> None:
    now = int(time.time())
    with pytest.raises(InvalidToken):
        issuer.decode(signed(claims(iat=now - 100, exp=now - 1)))


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_clock_may_be_ninety_seconds_behind_the_one_that_issued(
    issuer: JwtIssuer, claim: str
) -> None:
    now = int(time.time())
    issuer.decode(signed(claims(**{claim: now + CLOCK_SKEW_SECONDS - 10})))
    with pytest.raises(InvalidToken):
        issuer.decode(signed(claims(**{claim: now + CLOCK_SKEW_SECONDS + 10})))


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "another"},
        {"iss": None},
        {"type": "refresh"},
        {"type": "id"},
        {"exp": None},
        {"exp": "never"},
        {"exp": [1]},
        {"exp": {}},
        {"iat": "yesterday"},
        {"sub": None},
        {"sub": 7},
        {"sub": "seven"},
        {"sub": ""},
        {"sub": "7.0"},
    ],
)
def test_a_token_with_a_claim_that_is_not_ours_is_refused(
    issuer: JwtIssuer, changed: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken):
        issuer.decode(signed(claims(**changed)))


def test_a_token_without_a_session_has_none_that_could_be_open(issuer: JwtIssuer) -> None:
    try:
        said = issuer.decode(signed(claims(jti=None)))
    except InvalidToken:
        return
    assert said.session_id == "None"


def test_a_refresh_token_is_refused(issuer: JwtIssuer) -> None:
    with pytest.raises(InvalidToken):
        issuer.decode(create_refresh_token("7"))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_a_token_signed_with_another_algorithm_is_refused(
    issuer: JwtIssuer, algorithm: str
) -> None:
    key = SECRET * 2
    app = Flask("other", static_folder=None)
    other = JwtIssuer(app, key, ISSUER, time.time)
    with app.app_context():
        other.decode(signed(claims(), key))
        with pytest.raises(InvalidToken):
            other.decode(signed(claims(), key, algorithm))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", ["", "x", part(b"\x00" * 32)])
def test_a_token_that_is_not_signed_is_refused(
    issuer: JwtIssuer, name: str, signature: str
) -> None:
    header = part(json.dumps({"alg": name, "typ": "JWT"}).encode())
    with pytest.raises(InvalidToken):
        issuer.decode(f"{header}.{part(json.dumps(claims()).encode())}.{signature}")


def test_a_token_signed_with_another_key_is_refused(issuer: JwtIssuer) -> None:
    for key in (SECRET[:-1] + "X", SECRET + "X", "x" * 32):
        with pytest.raises(InvalidToken):
            issuer.decode(signed(claims(), key))


def test_a_token_changed_after_it_was_signed_is_refused(
    issuer: JwtIssuer, clock: FakeClock
) -> None:
    header, payload, signature = issued(issuer, clock).split(".")
    forged = part(json.dumps(claims(sub="1", userId="1")).encode())
    for token in (
        f"{header}.{forged}.{signature}",
        f"{header}.{payload}.{signature[::-1]}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload}.{signature}.{signature}",
    ):
        with pytest.raises(InvalidToken):
            issuer.decode(token)


HEADER = part(b'{"alg":"HS256","typ":"JWT"}')


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        ".",
        "..",
        "...",
        "x",
        "a.b.c",
        "null",
        "{}",
        "\x00",
        "é.é.é",
        "\ud800",
        "%00.%00.%00",
        f"{HEADER}.{part(b'null')}.x",
        f"{HEADER}.{part(b'[]')}.x",
        f"{HEADER}.{part(bytes(range(256)))}.x",
        f"{part(b'null')}.{part(b'{}')}.x",
        f"{part(b'{}')}.{part(b'{}')}.x",
        f"{part(b'[1]')}.{part(b'{}')}.x",
        f"{part(bytes(range(256)))}.{part(b'{}')}.x",
        "x" * 5_000_000,
        f"{HEADER}.{'x' * 5_000_000}.x",
    ],
    ids=range(21),
)
def test_garbage_is_refused(issuer: JwtIssuer, garbage: str) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidToken):
        issuer.decode(garbage)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("deep", [b"[" * 5_000, b"[" * 100_000, b'{"a":' * 5_000])
def test_a_token_nested_deeper_than_can_be_read_is_refused(issuer: JwtIssuer, deep: bytes) -> None:
    for token in (f"{part(deep)}.{part(b'{}')}.x", f"{HEADER}.{part(deep)}.x"):
        with pytest.raises(InvalidToken):
            issuer.decode(token)


@pytest.mark.parametrize(
    "header",
    [
        {"kid": 7},
        {"kid": "../../etc/passwd"},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"jwk": {"kty": "oct", "k": "eA"}},
        {"x5u": "http://localhost/"},
        {"typ": "at+jwt"},
    ],
)
def test_a_header_of_any_sort_opens_no_door(issuer: JwtIssuer, header: dict[str, Any]) -> None:
    protected = part(json.dumps({"alg": "HS256", **header}).encode())
    with pytest.raises(InvalidToken):
        issuer.decode(f"{protected}.{part(json.dumps(claims()).encode())}.{part(b'x' * 32)}")
