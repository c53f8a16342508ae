"""One-time codes, held up against the RFC and against pyotp's own."""

import base64
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest

from authsvc.infra.one_time_codes import TotpCodes

CODES = TotpCodes("My service: test")
RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
NOW = 1_800_000_010.0
STEP = 60_000_000


# RFC 6238, appendix B; of its eight digits the last six.
@pytest.mark.parametrize(
    ("now", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_codes_are_those_of_the_rfc(now: int, code: str) -> None:
    assert CODES.step(RFC_SECRET, code, now) == now // 30


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_code_is_right_within_one_step_and_tells_its_own_step(offset: int) -> None:
    code = pyotp.TOTP(RFC_SECRET).at(NOW, counter_offset=offset)
    assert CODES.step(RFC_SECRET, code, NOW) == STEP + offset


@pytest.mark.parametrize("offset", [-3, -2, 2, 3])
def test_a_code_is_wrong_outside_of_one_step(offset: int) -> None:
    code = pyotp.TOTP(RFC_SECRET).at(NOW, counter_offset=offset)
    assert CODES.step(RFC_SECRET, code, NOW) is None


def test_a_code_of_another_secret_is_wrong() -> None:
    code = pyotp.TOTP(CODES.new_secret()).at(NOW)
    assert CODES.step(RFC_SECRET, code, NOW) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda code: "",
        lambda code: code[:5],
        lambda code: code + "0",
        lambda code: code + "\n",
        lambda code: " " + code,
        lambda code: f"{code[:3]} {code[3:]}",
        lambda code: "".join(chr(0xFF10 + int(digit)) for digit in code),
        lambda code: "".join(chr(0x0660 + int(digit)) for digit in code),
        lambda code: "\ud800" * 6,
        lambda code: code * 10_000,
    ],
)
def test_anything_but_six_ascii_digits_is_wrong(spoil: object) -> None:
    code = pyotp.TOTP(RFC_SECRET).at(NOW)
    assert callable(spoil)
    assert CODES.step(RFC_SECRET, spoil(code), NOW) is None


def test_every_secret_is_another_and_has_160_bits() -> None:
    secrets = {CODES.new_secret() for _ in range(50)}
    assert len(secrets) == 50
    assert {len(base64.b32decode(secret)) for secret in secrets} == {20}


@pytest.mark.parametrize("username", ["ann", "Ann Smith", "a:b/c?d&e=f#g%", "陈小明", "😀"])
def test_an_authenticator_reads_secret_issuer_and_user_from_the_uri(username: str) -> None:
    secret = CODES.new_secret()
    uri = CODES.uri(secret, username)
    parts = urlsplit(uri)
    assert uri.isascii()
    assert (parts.scheme, parts.netloc, parts.fragment) == ("otpauth", "totp", "")
    assert unquote(parts.path) == f"/My service: test:{username}"
    assert parse_qs(parts.query) == {"secret": [secret], "issuer": ["My service: test"]}
    read = pyotp.parse_uri(uri)
    assert isinstance(read, pyotp.TOTP)
    assert read.at(NOW) == pyotp.TOTP(secret).at(NOW)
