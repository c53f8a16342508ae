"""Access tokens: what they say, and every token that is not one of ours."""

import base64
import hashlib
import hmac
import json
import string
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask

import authsvc.infra.jwt as adapter
from authsvc.core.errors import InvalidToken, UsersUnavailable
from authsvc.core.ports import Claims
from authsvc.core.users import User
from authsvc.infra.jwt import (
    CLOCK_SKEW_SECONDS,
    TOKEN_MAX_LENGTH,
    JwtIssuer,
    SigningKey,
    make_key,
)
from tests.core.fakes import FakeClock

SECRET = "a key of more than thirty-two bytes"
ISSUER = "authsvc"
LIFETIME = 7200
BOB = User(id=7, username="张三", email=None, permission=0, data="{}", password_hash="hash")
ALGORITHMS = ("EdDSA", "ES256", "RS256")
KEYS = {algorithm: make_key(algorithm, 0, 0) for algorithm in ALGORITHMS}
STRANGE_KEYS = {algorithm: make_key(algorithm, 0, 0) for algorithm in ALGORITHMS}
FIRST, *OTHERS = KEYS.values()


class HeldKeys:
    """Keys in memory; one of them signs, or the secret does."""

    def __init__(self) -> None:
        self.signing: SigningKey | None = None
        self.known = {key.kid: key for key in KEYS.values()}
        self.down = False

    def signing_key(self) -> SigningKey | None:
        self._answer()
        return self.signing

    def find(self, kid: str) -> SigningKey | None:
        self._answer()
        return self.known.get(kid)

    def public_keys(self) -> list[dict[str, str]]:
        self._answer()
        return [key.jwk for key in self.known.values()]

    def _answer(self) -> None:
        if self.down:
            raise UsersUnavailable


@pytest.fixture
def clock() -> FakeClock:
    """The issuer's clock, right at first."""
    return FakeClock(time.time())


@pytest.fixture
def keys() -> HeldKeys:
    """Keys of all algorithms, none of which signs at first."""
    return HeldKeys()


@pytest.fixture
def issuer(clock: FakeClock, keys: HeldKeys) -> Iterator[JwtIssuer]:
    """An issuer in its application's context."""
    app = Flask("authsvc", static_folder=None)
    issuer = JwtIssuer(app, SECRET, ISSUER, clock, keys)
    with app.app_context():
        yield issuer


def issued(issuer: JwtIssuer, clock: FakeClock) -> str:
    """Return a token issued now."""
    now = int(clock())
    return issuer.issue(BOB, "session", "token", now, now + LIFETIME)


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
        "jti": "token",
        "sid": "session",
        "iss": ISSUER,
    }
    return {name: value for name, value in (genuine | changed).items() if value is not None}


def signed(payload: Any, key: Any = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    """Return a token that says this, signed with this by a library."""
    return jwt.encode(payload, key, algorithm=algorithm, headers=header)


def signed_with(key: SigningKey, payload: Any, **header: Any) -> str:
    """Return a token that says this, signed with a key, under its id or another."""
    return signed(payload, key.private_key, key.algorithm, **{"kid": key.kid, **header})


def part(content: bytes) -> str:
    """Return one of the three parts of a token."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def sealed(header: Any, payload: bytes, key: bytes = SECRET.encode()) -> str:
    """Return a token of any header, with a right HMAC by any bytes."""
    content = f"{part(json.dumps(header).encode())}.{part(payload)}"
    return f"{content}.{part(hmac.digest(key, content.encode(), 'sha256'))}"


def said(payload: dict[str, Any]) -> bytes:
    """Return claims as a token holds them."""
    return json.dumps(payload).encode()


class TestWhatATokenSays:
    def test_a_token_says_what_every_dialect_may_read_in_it(
        self, issuer: JwtIssuer, clock: FakeClock
    ) -> None:
        now = int(clock())
        token = issuer.issue(BOB, "session", "token", now, now + LIFETIME)
        content = jwt.decode(token, SECRET, algorithms=["HS256"], issuer=ISSUER)
        expected = {
            "sub": "7",
            "userId": "7",
            "username": "张三",
            "iat": now,
            "exp": now + LIFETIME,
            "jti": "token",
            "sid": "session",
            "iss": ISSUER,
            "type": "access",
            "fresh": False,
        }
        assert content == expected
        assert all(type(content[name]) is type(value) for name, value in expected.items())

    def test_a_token_is_signed_with_hs256_unless_a_key_signs(
        self, issuer: JwtIssuer, clock: FakeClock
    ) -> None:
        header = jwt.get_unverified_header(issued(issuer, clock))
        assert header == {"alg": "HS256", "typ": "JWT"}

    @pytest.mark.parametrize("algorithm", [None, *ALGORITHMS])
    def test_a_token_tells_its_session_and_its_user(
        self, issuer: JwtIssuer, clock: FakeClock, keys: HeldKeys, algorithm: str | None
    ) -> None:
        keys.signing = KEYS[algorithm] if algorithm else None
        now = int(clock())
        assert issuer.decode(issued(issuer, clock)) == Claims(
            user_id=7,
            session_id="session",
            token_id="token",
            issued_at=now,
            expires_at=now + LIFETIME,
            username="张三",
            issuer=ISSUER,
        )

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_a_stranger_who_has_only_the_published_key_can_check_a_token(
        self, issuer: JwtIssuer, clock: FakeClock, keys: HeldKeys, algorithm: str
    ) -> None:
        keys.signing = KEYS[algorithm]
        token = issued(issuer, clock)
        header = jwt.get_unverified_header(token)
        assert header == {"alg": algorithm, "kid": KEYS[algorithm].kid, "typ": "JWT"}
        published = jwt.PyJWKSet.from_dict({"keys": issuer.public_keys()})
        content = jwt.decode(token, published[header["kid"]], [algorithm], issuer=ISSUER)
        assert content["sub"] == "7"

    def test_tokens_of_every_kind_are_good_at_the_same_time(
        self, issuer: JwtIssuer, clock: FakeClock, keys: HeldKeys
    ) -> None:
        tokens = [issued(issuer, clock)]
        for key in KEYS.values():
            keys.signing = key
            tokens.append(issued(issuer, clock))
        for keys.signing in (None, *KEYS.values()):
            for token in tokens:
                assert issuer.decode(token).user_id == 7

    def test_a_token_of_the_longest_name_is_short_enough(
        self, issuer: JwtIssuer, clock: FakeClock, keys: HeldKeys
    ) -> None:
        keys.signing = KEYS["RS256"]
        now = int(clock())
        longest = User(10**18 - 1, "\U0001f600" * 64, None, 0, "{}", "hash")
        token = issuer.issue(longest, "s" * 64, "t" * 64, now, now + LIFETIME)
        assert len(token) < TOKEN_MAX_LENGTH / 2
        assert issuer.decode(token).user_id == 10**18 - 1

    def test_keys_that_cannot_be_read_are_not_an_invalid_token(
        self, issuer: JwtIssuer, clock: FakeClock, keys: HeldKeys
    ) -> None:
        keys.signing = FIRST
        token = issued(issuer, clock)
        keys.down = True
        for call in (
            lambda: issuer.decode(token),
            lambda: issued(issuer, clock),
            issuer.prepare,
            issuer.public_keys,
        ):
            with pytest.raises(UsersUnavailable):
                call()

    def test_a_token_of_the_secret_is_checked_without_any_stored_key(
        self, issuer: JwtIssuer, clock: FakeClock, keys: HeldKeys
    ) -> None:
        token = issued(issuer, clock)
        keys.down = True
        assert issuer.decode(token).user_id == 7


class TestKeys:
    def test_the_id_of_a_key_is_its_thumbprint(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The key of RFC 8037, appendices A.1 to A.3.
        secret = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
        example = Ed25519PrivateKey.from_private_bytes(secret)
        monkeypatch.setitem(adapter._MAKERS, "EdDSA", lambda: example)
        key = make_key("EdDSA", 1, 2)
        assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        assert key.jwk == {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": key.kid,
            "use": "sig",
            "alg": "EdDSA",
        }
        assert (key.created_at, key.signs_from) == (1, 2)

    @pytest.mark.parametrize(
        ("algorithm", "members"),
        [("EdDSA", "crv kty x"), ("ES256", "crv kty x y"), ("RS256", "e kty n")],
    )
    def test_a_published_key_has_its_public_members_and_no_others(
        self, algorithm: str, members: str
    ) -> None:
        jwk = KEYS[algorithm].jwk
        assert jwk.keys() == {*members.split(), "kid", "use", "alg"}
        assert (jwk["use"], jwk["alg"]) == ("sig", algorithm)
        half = json.dumps({member: jwk[member] for member in members.split()})
        digest = hashlib.sha256(half.replace(" ", "").encode()).digest()
        assert jwk["kid"] == part(digest)

    def test_a_key_is_printed_without_its_private_half(self) -> None:
        assert "private" not in repr(FIRST)


class TestTime:
    def test_a_token_expires_at_its_second_without_any_leeway(
        self, issuer: JwtIssuer, clock: FakeClock
    ) -> None:
        token = issued(issuer, clock)
        expires_at = jwt.decode(token, options={"verify_signature": False})["exp"]
        clock.now = expires_at - 0.001
        issuer.decode(token)
        clock.now = expires_at
        with pytest.raises(InvalidToken):
            issuer.decode(token)

    def test_a_token_that_expired_within_the_skew_is_refused(self, issuer: JwtIssuer) -> None:
        now = int(time.time())
        with pytest.raises(InvalidToken):
            issuer.decode(signed(claims(iat=now - 100, exp=now - 1)))

    @pytest.mark.parametrize("claim", ["iat", "nbf"])
    def test_a_clock_may_be_ninety_seconds_behind_the_one_that_issued(
        self, issuer: JwtIssuer, clock: FakeClock, claim: str
    ) -> None:
        now = int(clock())
        clock.now = now
        issuer.decode(signed(claims(**{claim: now + CLOCK_SKEW_SECONDS})))
        with pytest.raises(InvalidToken):
            issuer.decode(signed(claims(**{claim: now + CLOCK_SKEW_SECONDS + 1})))


CLAIMS = ("iss", "sub", "userId", "username", "iat", "exp", "jti", "sid", "type")


class TestClaims:
    def test_the_claims_that_the_others_are_changed_from_are_good(self, issuer: JwtIssuer) -> None:
        assert issuer.decode(signed(claims())).username == "bob"
        assert issuer.decode(signed_with(FIRST, claims())).username == "bob"

    @pytest.mark.parametrize("claim", CLAIMS)
    @pytest.mark.parametrize("key", [None, FIRST], ids=["secret", "key"])
    def test_a_token_that_lacks_a_claim_is_refused(
        self, issuer: JwtIssuer, claim: str, key: SigningKey | None
    ) -> None:
        payload = claims(**{claim: None})
        with pytest.raises(InvalidToken):
            issuer.decode(signed_with(key, payload) if key else signed(payload))

    @pytest.mark.parametrize("claim", CLAIMS)
    @pytest.mark.parametrize("value", [None, True, 7, 1.5, "", [], ["7"], {}, {"7": 7}, 10**400])
    def test_a_claim_of_another_type_is_refused(
        self, issuer: JwtIssuer, claim: str, value: object
    ) -> None:
        if claim in ("iat", "exp") and type(value) is int:
            value = str(int(time.time()))
        with pytest.raises(InvalidToken):
            issuer.decode(sealed(HS256, said(claims() | {claim: value})))

    @pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
    @pytest.mark.parametrize("claim", ["iat", "exp", "nbf"])
    def test_a_time_that_is_no_number_is_refused(
        self, issuer: JwtIssuer, claim: str, constant: str
    ) -> None:
        payload = json.dumps(claims(**{claim: "?"})).replace('"?"', constant)
        with pytest.raises(InvalidToken):
            issuer.decode(sealed(HS256, payload.encode()))

    @pytest.mark.parametrize(
        "changed",
        [
            {"iss": "another"},
            {"iss": ISSUER + "/"},
            {"iss": ISSUER.upper()},
            {"type": "refresh"},
            {"type": "id"},
            {"type": "Access"},
            {"userId": "8"},
            {"nbf": "tomorrow"},
            {"nbf": [1]},
            {"aud": "another"},
            *(
                {"sub": text, "userId": text}
                for text in ("seven", "7.0", "-7", "+7", " 7", "07", "0", "7_0", "٧", "9" * 19)
            ),
        ],
    )
    @pytest.mark.parametrize("key", [None, FIRST], ids=["secret", "key"])
    def test_a_token_with_a_claim_that_is_not_ours_is_refused(
        self, issuer: JwtIssuer, changed: dict[str, Any], key: SigningKey | None
    ) -> None:
        payload = claims(**changed)
        with pytest.raises(InvalidToken):
            issuer.decode(signed_with(key, payload) if key else signed(payload))

    @pytest.mark.parametrize(
        "payload", [b"null", b"[]", b"7", b'"x"', b"", b"{", bytes(range(256))]
    )
    def test_a_payload_that_is_no_object_is_refused_though_its_signature_is_right(
        self, issuer: JwtIssuer, payload: bytes
    ) -> None:
        with pytest.raises(InvalidToken):
            issuer.decode(sealed(HS256, payload))

    def test_a_token_inside_a_token_is_refused(self, issuer: JwtIssuer) -> None:
        inner = signed(claims())
        for header in (HS256, HS256 | {"cty": "JWT"}):
            for payload in (inner, json.dumps(inner)):
                with pytest.raises(InvalidToken):
                    issuer.decode(sealed(header, payload.encode()))


HS256 = {"alg": "HS256", "typ": "JWT"}


def bytes_of_the_public_half(key: SigningKey) -> list[bytes]:
    """Return what an attacker who knows the published key could take for an HMAC key."""
    info = PublicFormat.SubjectPublicKeyInfo
    pem: bytes = key.public_key.public_bytes(Encoding.PEM, info)
    members = {name: key.jwk[name] for name in key.jwk if name not in ("kid", "use", "alg")}
    return [
        pem,
        pem.strip(),
        key.public_key.public_bytes(Encoding.DER, info),
        json.dumps(key.jwk).encode(),
        json.dumps(members, separators=(",", ":"), sort_keys=True).encode(),
        *(value.encode() for value in key.jwk.values()),
        *(base64.urlsafe_b64decode(value + "==") for value in members.values() if len(value) > 40),
        b"",
    ]


class TestConfusion:
    @pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
    def test_the_public_half_of_a_key_is_no_secret(
        self, issuer: JwtIssuer, key: SigningKey
    ) -> None:
        for confused in bytes_of_the_public_half(key):
            for header in (
                HS256,
                HS256 | {"kid": key.kid},
                {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"},
            ):
                with pytest.raises(InvalidToken):
                    issuer.decode(sealed(header, said(claims()), confused))

    @pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
    def test_the_secret_signs_under_no_key_id(self, issuer: JwtIssuer, key: SigningKey) -> None:
        assert issuer.decode(sealed(HS256, said(claims())))
        for algorithm in ("HS256", key.algorithm):
            with pytest.raises(InvalidToken):
                issuer.decode(sealed({**HS256, "alg": algorithm, "kid": key.kid}, said(claims())))

    @pytest.mark.parametrize("under", KEYS.values(), ids=KEYS)
    @pytest.mark.parametrize("signs", KEYS.values(), ids=KEYS)
    def test_a_key_signs_under_its_own_id_and_algorithm_only(
        self, issuer: JwtIssuer, signs: SigningKey, under: SigningKey
    ) -> None:
        token = signed_with(signs, claims(), kid=under.kid)
        if signs is under:
            assert issuer.decode(token).user_id == 7
            return
        header, payload, signature = token.split(".")
        header = part(json.dumps({"alg": under.algorithm, "kid": under.kid, "typ": "JWT"}).encode())
        for confused in (token, f"{header}.{payload}.{signature}"):
            with pytest.raises(InvalidToken):
                issuer.decode(confused)

    @pytest.mark.parametrize("key", STRANGE_KEYS.values(), ids=STRANGE_KEYS)
    def test_a_strange_key_signs_under_no_id(self, issuer: JwtIssuer, key: SigningKey) -> None:
        known = KEYS[key.algorithm]
        for kid in (key.kid, known.kid):
            with pytest.raises(InvalidToken):
                issuer.decode(signed_with(key, claims(), kid=kid))
        with pytest.raises(InvalidToken):
            issuer.decode(signed_with(key, claims(), kid=key.kid, jwk=key.jwk))

    @pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
    def test_a_key_signs_nothing_without_its_id(self, issuer: JwtIssuer, key: SigningKey) -> None:
        with pytest.raises(InvalidToken):
            issuer.decode(signed(claims(), key.private_key, key.algorithm))

    @pytest.mark.parametrize(
        ("algorithm", "of"), [("RS384", "RS256"), ("RS512", "RS256"), ("PS256", "RS256")]
    )
    def test_a_key_signs_with_no_other_algorithm_that_it_could_sign_with(
        self, issuer: JwtIssuer, algorithm: str, of: str
    ) -> None:
        token = signed(claims(), KEYS[of].private_key, algorithm, kid=KEYS[of].kid)
        with pytest.raises(InvalidToken):
            issuer.decode(token)

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    def test_the_secret_signs_with_no_other_algorithm_that_it_could_sign_with(
        self, clock: FakeClock, algorithm: str
    ) -> None:
        key = SECRET * 2
        app = Flask("other", static_folder=None)
        other = JwtIssuer(app, key, ISSUER, clock, HeldKeys())
        other.decode(signed(claims(), key))
        with pytest.raises(InvalidToken):
            other.decode(signed(claims(), key, algorithm))

    @pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 0, [], ["HS256"]])
    @pytest.mark.parametrize("kid", [None, *(key.kid for key in KEYS.values())])
    @pytest.mark.parametrize("signature", ["", "x", part(b"\x00" * 32)])
    def test_a_token_that_is_not_signed_is_refused(
        self, issuer: JwtIssuer, name: object, kid: str | None, signature: str
    ) -> None:
        header = {"alg": name, "typ": "JWT"} | ({"kid": kid} if kid else {})
        unsigned = f"{part(json.dumps(header).encode())}.{part(said(claims()))}"
        for token in (f"{unsigned}.{signature}", sealed(header, said(claims()))):
            with pytest.raises(InvalidToken):
                issuer.decode(token)

    @pytest.mark.parametrize(
        "kid",
        [
            None,
            "",
            "A" * 43,
            7,
            1.5,
            True,
            [],
            [FIRST.kid],
            {},
            {"kid": FIRST.kid},
            FIRST.kid + "\x00",
            FIRST.kid + " ",
            FIRST.kid.swapcase(),
            "../../../../dev/null",
            "/proc/self/environ",
            "' OR '1'='1",
            "x' UNION SELECT 'AAAA' -- ",
            "%",
            "_" * 43,
            "\ud800",
            "x" * 4000,
        ],
        ids=range(21),
    )
    def test_an_id_that_names_no_key_is_refused(self, issuer: JwtIssuer, kid: object) -> None:
        for key in (SECRET.encode(), b"", b"AAAA"):
            for algorithm in ("HS256", *ALGORITHMS):
                header = {"alg": algorithm, "kid": kid, "typ": "JWT"}
                with pytest.raises(InvalidToken):
                    issuer.decode(sealed(header, said(claims()), key))

    @pytest.mark.parametrize(
        "header",
        [
            {"crit": ["b64"], "b64": True},
            {"crit": ["exp"], "exp": 1},
            {"crit": []},
            {"crit": None},
            {"b64": True},
            {"b64": False},
            {"jwk": {"kty": "oct", "k": "eA"}},
            {"jku": "http://localhost/"},
            {"x5u": "http://localhost/"},
            {"cty": "JWT"},
            {"zip": "DEF"},
            {"enc": "A256GCM"},
            {"typ": "at+jwt"},
            {"typ": None},
        ],
    )
    def test_a_header_that_we_do_not_write_is_refused_though_its_signature_is_right(
        self, issuer: JwtIssuer, header: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidToken):
            issuer.decode(sealed(HS256 | header, said(claims())))


class TestForgery:
    def test_a_token_signed_with_another_secret_is_refused(self, issuer: JwtIssuer) -> None:
        for key in (SECRET[:-1] + "X", SECRET + "X", "x" * 32):
            with pytest.raises(InvalidToken):
                issuer.decode(signed(claims(), key))

    @pytest.mark.parametrize("algorithm", [None, *ALGORITHMS])
    def test_a_token_changed_after_it_was_signed_is_refused(
        self, issuer: JwtIssuer, clock: FakeClock, keys: HeldKeys, algorithm: str | None
    ) -> None:
        keys.signing = KEYS[algorithm] if algorithm else None
        token = issued(issuer, clock)
        issuer.decode(token)
        header, payload, signature = token.split(".")
        forged = part(said(claims(sub="1", userId="1")))
        for changed in (
            f"{header}.{forged}.{signature}",
            f"{header}.{payload}.{signature[::-1]}",
            f"{header}.{payload}.",
            f"{header}.{payload}",
            f"{header}.{payload}.{signature}.{signature}",
            f"{header}..{signature}",
            f".{payload}.{signature}",
        ):
            with pytest.raises(InvalidToken):
                issuer.decode(changed)

    def test_a_genuine_token_in_another_spelling_is_refused(
        self, issuer: JwtIssuer, clock: FakeClock
    ) -> None:
        header, payload, signature = issued(issuer, clock).split(".")
        # The last of 43 characters stands for four bits: three others mean the same bytes.
        same_bytes = next(
            signature[:-1] + last
            for last in string.ascii_letters + string.digits
            if last != signature[-1] and unpadded(signature[:-1] + last) == unpadded(signature)
        )
        for changed in (
            f"{header}.{payload}.{same_bytes}",
            f"{header}.{payload}.{signature}=",
            f"{header}.{payload}.{signature[:9]}!{signature[9:]}",
            f"{header}=.{payload}.{signature}",
            f"{header[:9]}\n{header[9:]}.{payload}.{signature}",
        ):
            with pytest.raises(InvalidToken):
                issuer.decode(changed)


def unpadded(segment: str) -> bytes:
    """Returns what a segment of a token stands for."""
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


HEADER = part(b'{"alg":"HS256","typ":"JWT"}')


class TestGarbage:
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
    def test_garbage_is_refused(self, issuer: JwtIssuer, garbage: str) -> None:
        with pytest.raises(InvalidToken):
            issuer.decode(garbage)

    @pytest.mark.parametrize("garbage", [None, 7, True, b"", b"a.b.c", bytes(range(256)), [], {}])
    def test_what_is_not_text_is_refused(self, issuer: JwtIssuer, garbage: Any) -> None:
        with pytest.raises(InvalidToken):
            issuer.decode(garbage)

    def test_a_genuine_token_in_bytes_is_refused(self, issuer: JwtIssuer) -> None:
        with pytest.raises(InvalidToken):
            issuer.decode(signed(claims()).encode())  # type: ignore[arg-type]

    def test_a_genuine_token_that_is_longer_than_ours_can_be_is_refused(
        self, issuer: JwtIssuer
    ) -> None:
        spare = TOKEN_MAX_LENGTH - len(signed(claims(note="")))
        longest, too_long = (
            next(
                token
                for size in range(spare * 3 // 4 - 8, spare)
                if len(token := signed(claims(note="x" * size))) >= length
            )
            for length in (TOKEN_MAX_LENGTH - 1, TOKEN_MAX_LENGTH + 1)
        )
        assert len(longest) <= TOKEN_MAX_LENGTH < len(too_long)
        issuer.decode(longest)
        with pytest.raises(InvalidToken):
            issuer.decode(too_long)

    @pytest.mark.parametrize("deep", [b"[" * 5_000, b"[" * 100_000, b'{"a":' * 1_100])
    def test_a_token_nested_deeper_than_can_be_read_is_refused(
        self, issuer: JwtIssuer, deep: bytes
    ) -> None:
        for token in (f"{part(deep)}.{part(b'{}')}.x", sealed(HS256, deep)):
            with pytest.raises(InvalidToken):
                issuer.decode(token)

    def test_a_number_longer_than_can_be_read_is_refused(self, issuer: JwtIssuer) -> None:
        with pytest.raises(InvalidToken):
            issuer.decode(sealed(HS256, b'{"exp":' + b"9" * 5_000 + b"}"))
        header = part(b'{"alg":' + b"9" * 5_000 + b"}")
        with pytest.raises(InvalidToken):
            issuer.decode(f"{header}.{part(b'{}')}.x")
