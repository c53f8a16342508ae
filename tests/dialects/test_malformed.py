"""Malformed bodies of every kind: never a 5xx, always the dialect's own shape and language."""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.dialects import wire
from tests.dialects.pages import (
    OPERATIONS,
    PASSWORD,
    Operation,
    assert_fails_in_own_words,
    client_of,
    fresh_name,
    new_captcha,
    port_of,
    send,
)
from tests.dialects.stores import TEST_VALUE
from tests.support.client import Answer, encode
from tests.support.service import Service

LIMIT = 64 * 1024
JSON = {"Content-Type": "application/json"}
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, ids=str)


@pytest.fixture
def headers(operation: Operation, request: pytest.FixtureRequest) -> dict[str, str]:
    """The headers without which the operation would not look at the body."""
    if not operation.optional:
        return {}
    return {"Authorization": f"Bearer {request.getfixturevalue('administrator')}"}


@pytest.fixture
def valid(operation: Operation, service: Service) -> dict[str, Any]:
    """A body with which the operation succeeds."""
    name = fresh_name("Valid")
    body = {"username": name, "password": PASSWORD}
    if operation.is_log_in:
        register = next(o for o in OPERATIONS if str(o) == "envelope-register")
        assert send(service, register, body).status == 200
    if "email" in operation.fields:
        body["email"] = f"{name}@example.com"
    if "captchaId" in operation.fields:
        body |= {"captchaId": new_captcha(service), "value": TEST_VALUE}
    return body


def post(service: Service, operation: Operation, body: bytes, headers: dict[str, str]) -> Answer:
    """Posts bytes as they are."""
    client = client_of(service, operation.port)
    return client.request("POST", operation.path, body=body, headers=headers)


def assert_refused(operation: Operation, answer: Answer, *statuses: int) -> None:
    """Checks that the answer has one of the statuses, in the dialect's words."""
    assert answer.status in statuses, answer.text
    assert_fails_in_own_words(operation.dialect, answer)


# ---------------------------------------------------------------- bodies as a whole

NOT_AN_OBJECT: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \r\n\t ",
    "a word": b"hello",
    "a form": b"username=user&password=pass",
    "a list": b"[]",
    "a list of objects": b'[{"username": "user", "password": "password"}]',
    "a string": b'"username"',
    "a number": b"42",
    "a fraction": b"-1.5e3",
    "a huge number": b"9" * 60_000,
    "null": b"null",
    "true": b"true",
    "NaN": b"NaN",
    "lists in lists": b"[" * 30_000 + b"]" * 30_000,
    "64 KiB of open lists": b"[" * LIMIT,
    "64 KiB of open objects": b'{"a":' * (LIMIT // 5),
    "objects in objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "an open string": b'{"username": "',
    "a comment": b'// {}\n{"username": "user"}',
    "single quotes": b"{'username': 'user', 'password': 'password'}",
    "two objects": b"{}{}",
    "an object and a word": b"{} and more",
    "an empty object": b"{}",
    "an empty name": b'{"": ""}',
    "a NUL byte": b"\x00",
    "UTF-8's byte order mark alone": b"\xef\xbb\xbf",
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "bytes of no encoding": bytes(range(256)),
    "a PNG": b"\x89PNG\r\n\x1a\n",
    "XML": b"<?xml version='1.0'?><username>user</username>",
    "only unknown fields": '{"用户名": "user", "Username": "user", "USERNAME": 1}'.encode(),
}


@EVERY_OPERATION
@pytest.mark.parametrize("body", NOT_AN_OBJECT.values(), ids=NOT_AN_OBJECT)
def test_a_body_that_is_not_an_object_of_the_fields_is_malformed(
    body: bytes, operation: Operation, service: Service, headers: dict[str, str]
) -> None:
    assert_refused(operation, post(service, operation, body, headers | JSON), 400)


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda valid: valid[:-1],
    "half": lambda valid: valid[: len(valid) // 2],
    "with a comma too many": lambda valid: valid[:-1] + b",}",
    "with a brace too many": lambda valid: valid + b"}",
    "with bytes that are not UTF-8": lambda valid: valid.replace(b"Valid", b"\xff\xfe\xc3\x28"),
    "with an overlong encoding": lambda valid: valid.replace(b"Valid", b"\xc0\xaf"),
    "with an encoded surrogate": lambda valid: valid.replace(b"Valid", b"\xed\xa0\x80"),
    "with a raw line break in a string": lambda valid: valid.replace(b"Valid", b"Val\nid"),
    "with a wrong escape": lambda valid: valid.replace(b"Valid", b"\\x41"),
    "in Latin-1": lambda valid: valid.decode().replace("Valid", "Välid").encode("latin-1"),
    "in UTF-16": lambda valid: valid.decode().encode("utf-16"),
    "in UTF-16 without a mark": lambda valid: valid.decode().encode("utf-16-be"),
    "in UTF-32": lambda valid: valid.decode().encode("utf-32"),
    "compressed": gzip.compress,
    "with NaN in a further field": lambda valid: valid[:-1] + b', "more": NaN}',
    "with Infinity in a further field": lambda valid: valid[:-1] + b', "more": -Infinity}',
    "with a number of 5,000 digits": lambda valid: valid[:-1] + b', "m": ' + b"9" * 5000 + b"}",
    "with a field given twice": lambda valid: valid[:-1] + b', "username": 1}',
}


@EVERY_OPERATION
@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_valid_body_that_was_spoilt_is_malformed(
    spoil: Callable[[bytes], bytes],
    operation: Operation,
    service: Service,
    valid: dict[str, Any],
    headers: dict[str, str],
) -> None:
    body = spoil(encode(valid))
    assert_refused(operation, post(service, operation, body, headers | JSON), 400)


HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "untouched": lambda valid: valid,
    "with a byte order mark": lambda valid: b"\xef\xbb\xbf" + valid,
    "in white space": lambda valid: b"\r\n\t " + valid + b"\r\n",
    "escaped": lambda valid: valid.replace(b"Valid", rb"\u0056\u0061\u006c\u0069\u0064"),
    "with unknown fields": lambda valid: valid[:-1] + ', "更多": {"a": [1, null]}}'.encode(),
    "with the last of two fields right": lambda valid: b'{"username": 1, ' + valid[1:],
    "with a number of 4,000 digits": lambda valid: valid[:-1] + b', "m": ' + b"9" * 4000 + b"}",
    "with a number beyond a float": lambda valid: valid[:-1] + b', "m": 1e999}',
    "of 64 KiB": lambda valid: valid.ljust(LIMIT),
}


@EVERY_OPERATION
@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_a_body_that_is_valid_in_spite_of_its_looks_succeeds(
    change: Callable[[bytes], bytes],
    operation: Operation,
    service: Service,
    valid: dict[str, Any],
    headers: dict[str, str],
) -> None:
    answer = post(service, operation, change(encode(valid)), headers | JSON)
    assert answer.status == operation.success, answer.text


# ---------------------------------------------------------------- size and transfer


@EVERY_OPERATION
@pytest.mark.parametrize("size", [LIMIT + 1, 10 * LIMIT])
def test_a_body_over_64_kib_is_too_large(
    size: int,
    operation: Operation,
    service: Service,
    valid: dict[str, Any],
    headers: dict[str, str],
) -> None:
    body = encode(valid).ljust(size)
    assert_refused(operation, post(service, operation, body, headers | JSON), 413)


def send_raw(
    service: Service, operation: Operation, headers: dict[str, str], body: bytes
) -> Answer:
    """Sends a request whose headers say themselves how the body is transferred."""
    lines = [f"{name}: {value}" for name, value in (headers | {"Host": "localhost"}).items()]
    request = wire.message("POST", operation.path, lines) + body
    return wire.exchange(port_of(service, operation.port), request)


CHUNKED = JSON | {"Transfer-Encoding": "chunked"}


@EVERY_OPERATION
def test_a_body_in_chunks_is_read(
    operation: Operation, service: Service, valid: dict[str, Any], headers: dict[str, str]
) -> None:
    body = wire.chunked(encode(valid), size=7)
    answer = send_raw(service, operation, headers | CHUNKED, body)
    assert answer.status == operation.success, answer.text


@EVERY_OPERATION
@pytest.mark.parametrize(("size", "status"), [(LIMIT, None), (LIMIT + 1, 413), (10 * LIMIT, 413)])
def test_a_body_in_chunks_may_be_64_kib_and_no_more(
    size: int,
    status: int | None,
    operation: Operation,
    service: Service,
    valid: dict[str, Any],
    headers: dict[str, str],
) -> None:
    body = wire.chunked(encode(valid).ljust(size))
    answer = send_raw(service, operation, headers | CHUNKED, body)
    if status is None:
        assert answer.status == operation.success, answer.text
    else:
        assert_refused(operation, answer, status)


BROKEN_TRANSFERS: dict[str, tuple[dict[str, str], bytes]] = {
    "shorter than said": ({"Content-Length": "100"}, b'{"username": "u'),
    "chunks that end too soon": ({"Transfer-Encoding": "chunked"}, b"20\r\n{}"),
    "no last chunk": ({"Transfer-Encoding": "chunked"}, b"2\r\n{}\r\n"),
    "a chunk size that is no number": ({"Transfer-Encoding": "chunked"}, b"zz\r\n{}\r\n0\r\n\r\n"),
    "a negative chunk size": ({"Transfer-Encoding": "chunked"}, b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than said": ({"Transfer-Encoding": "chunked"}, b"2\r\n{}xx0\r\n\r\n"),
}


@EVERY_OPERATION
@pytest.mark.parametrize("transfer", BROKEN_TRANSFERS.values(), ids=BROKEN_TRANSFERS)
def test_a_body_that_does_not_arrive_whole_is_malformed(
    transfer: tuple[dict[str, str], bytes],
    operation: Operation,
    service: Service,
    headers: dict[str, str],
) -> None:
    how, body = transfer
    assert_refused(operation, send_raw(service, operation, headers | JSON | how, body), 400)


# ---------------------------------------------------------------- Content-Type

WRONG_TYPES = [
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "text/json",
    "application/jsonp",
    "application/xml",
    "application/octet-stream",
    "json",
    "",
    ";;;",
    "application/json/",
    "\x80\xff",
]


@EVERY_OPERATION
@pytest.mark.parametrize("content_type", WRONG_TYPES)
def test_a_valid_body_of_another_content_type_is_refused(
    content_type: str,
    operation: Operation,
    service: Service,
    valid: dict[str, Any],
    headers: dict[str, str],
) -> None:
    labelled = headers | {"Content-Type": content_type}
    assert_refused(operation, post(service, operation, encode(valid), labelled), 415)


@EVERY_OPERATION
def test_a_body_without_content_type_is_refused(
    operation: Operation, service: Service, valid: dict[str, Any], headers: dict[str, str]
) -> None:
    assert_refused(operation, post(service, operation, encode(valid), headers), 415)


@EVERY_OPERATION
def test_no_body_and_no_content_type_is_malformed(
    operation: Operation, service: Service, headers: dict[str, str]
) -> None:
    answer = client_of(service, operation.port).post(operation.path, headers=headers)
    assert_refused(operation, answer, 400)


@EVERY_OPERATION
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"username=user&password=Secret-pass-1"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\nuser\r\n--x--\r\n',
        ),
        ("multipart/form-data", b"no boundary"),
    ],
)
def test_a_form_is_refused(
    content_type: str,
    body: bytes,
    operation: Operation,
    service: Service,
    headers: dict[str, str],
) -> None:
    labelled = headers | {"Content-Type": content_type}
    assert_refused(operation, post(service, operation, body, labelled), 415)


@EVERY_OPERATION
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "application/json;charset=gbk",
        "APPLICATION/JSON",
        "application/problem+json",
    ],
)
def test_every_kind_of_json_is_read_as_utf_8(
    content_type: str,
    operation: Operation,
    service: Service,
    valid: dict[str, Any],
    headers: dict[str, str],
) -> None:
    labelled = headers | {"Content-Type": content_type}
    answer = post(service, operation, encode(valid), labelled)
    assert answer.status == operation.success, answer.text


# ---------------------------------------------------------------- fields

NOT_A_STRING: dict[str, Any] = {
    "null": None,
    "zero": 0,
    "a number": 12345678,
    "a fraction": 1.5,
    "a huge number": 10**60,
    "true": True,
    "false": False,
    "an empty list": [],
    "a list": ["Secret-pass-1"],
    "an empty object": {},
    "an object": {"$ne": ""},
    "lists in lists": json.loads("[" * 500 + "]" * 500),
}
EVERY_FIELD = pytest.mark.parametrize(
    ("operation", "name"),
    [
        pytest.param(operation, name, id=f"{operation}-{name}")
        for operation in OPERATIONS
        for name in operation.fields
    ],
)


@EVERY_FIELD
def test_a_field_that_is_missing_is_malformed(
    operation: Operation,
    name: str,
    service: Service,
    valid: dict[str, Any],
    headers: dict[str, str],
) -> None:
    del valid[name]
    assert_refused(operation, post(service, operation, encode(valid), headers | JSON), 400)


@EVERY_FIELD
@pytest.mark.parametrize("value", NOT_A_STRING.values(), ids=NOT_A_STRING)
def test_a_field_that_is_not_a_string_is_malformed(
    operation: Operation,
    name: str,
    value: Any,
    service: Service,
    valid: dict[str, Any],
    headers: dict[str, str],
) -> None:
    body = encode(valid | {name: value})
    assert_refused(operation, post(service, operation, body, headers | JSON), 400)


@dataclass(frozen=True)
class Odd:
    """A string that few would send.

    Args:
        text: the string.
        password: whether it may become a password, apart from the envelope's upper-case letter.
        username: whether it may become a user name.
    """

    text: str
    password: bool = False
    username: bool = False


ODD_STRINGS: dict[str, Odd] = {
    "empty": Odd(""),
    "a space": Odd(" "),
    "spaces": Odd("        ", password=True),
    "a NUL": Odd("\0"),
    "NULs": Odd("ABCDEFGH\0\0", password=True),
    "a lone surrogate": Odd("ABCDEFGH\ud800"),
    "surrogates the wrong way round": Odd("ABCDEFGH\udc00\ud800"),
    "a control character": Odd("ABCDEFGH\x1b[2J", password=True),
    "a direction mark": Odd("ABCDEFGH\u202e", password=True),
    "a private character": Odd("ABCDEFGH\ue000", password=True),
    "an unassigned character": Odd("ABCDEFGH\U000effff", password=True),
    "a line break": Odd("ABCDEFGH\nX", password=True),
    "60 KB": Odd("A" * 60_000),
    "60 KB of Chinese": Odd("长" * 20_000),
    "a name that grows when normalised": Odd("ﷺ" * 60, password=True),
    "10,000 combining marks": Odd("A" + "\u0301" * 10_000),
}


@EVERY_FIELD
@pytest.mark.parametrize("odd", ODD_STRINGS.values(), ids=ODD_STRINGS)
def test_an_odd_string_is_refused_or_taken_and_never_a_fault_of_ours(
    operation: Operation,
    name: str,
    odd: Odd,
    service: Service,
    valid: dict[str, Any],
    headers: dict[str, str],
) -> None:
    body = json.dumps(valid | {name: odd.text}).encode()
    if len(body) > LIMIT:
        body = encode(valid | {name: odd.text})
    answer = post(service, operation, body, headers | JSON)
    if is_taken(operation, name, odd):
        assert answer.status == operation.success, answer.text
    elif operation.is_log_in and odd.text:
        assert_refused(operation, answer, 401)
    else:
        assert_refused(operation, answer, 400)


def is_taken(operation: Operation, name: str, odd: Odd) -> bool:
    """Tells whether an operation makes a user with the odd string in this field."""
    if operation.is_log_in or name not in ("username", "password"):
        return False
    if name == "username":
        return odd.username
    has_upper_case = any(character.isupper() for character in odd.text)
    return odd.password and (operation.dialect != "envelope" or has_upper_case)


MALFORMED_EMAILS = [
    "user",
    "@example.com",
    "user@",
    "user@localhost",
    "user@@example.com",
    "user@example..com",
    ".user@example.com",
    "us er@example.com",
    "user@example.com\n",
    "user@exa mple.com",
    "user@-example.com",
    "user@example.123",
    "<user@example.com>",
    "user@example.com, other@example.com",
    f"{'x' * 65}@example.com",
    f"user@{'x' * 64}.com",
    f"user@{'x.' * 130}com",
]


@pytest.mark.parametrize(
    "operation", [operation for operation in OPERATIONS if "email" in operation.fields], ids=str
)
@pytest.mark.parametrize("email", MALFORMED_EMAILS)
def test_a_malformed_email_address_is_refused(
    email: str,
    operation: Operation,
    service: Service,
    valid: dict[str, Any],
    headers: dict[str, str],
) -> None:
    body = encode(valid | {"email": email})
    assert_refused(operation, post(service, operation, body, headers | JSON), 400)


PERMISSIONS: dict[str, tuple[bytes, int]] = {
    "zero": (b"0", 201),
    "one's own": (b"1", 201),
    "above one's own": (b"2", 403),
    "beyond the column": (b"2147483648", 403),
    "beyond 64 bits": (b"18446744073709551616", 403),
    "of 4,000 digits": (b"9" * 4000, 403),
    "of 5,000 digits": (b"9" * 5000, 400),
    "negative": (b"-1", 400),
    "very negative": (b"-" + b"9" * 4000, 400),
    "null": (b"null", 400),
    "a fraction": (b"0.5", 400),
    "a whole fraction": (b"1.0", 400),
    "with an exponent": (b"1e0", 400),
    "infinite": (b"1e999", 400),
    "not a number": (b"NaN", 400),
    "a boolean": (b"true", 400),
    "a string": (b'"1"', 400),
    "an empty string": (b'""', 400),
    "a list": (b"[1]", 400),
    "an object": (b"{}", 400),
}


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.optional], ids=str)
@pytest.mark.parametrize(("value", "status"), PERMISSIONS.values(), ids=PERMISSIONS)
def test_a_permission_is_an_integer_of_at_least_zero_and_at_most_ones_own(
    value: bytes,
    status: int,
    operation: Operation,
    service: Service,
    valid: dict[str, Any],
    headers: dict[str, str],
) -> None:
    body = encode(valid)[:-1] + b', "permission": ' + value + b"}"
    answer = post(service, operation, body, headers | JSON)
    assert answer.status == status, answer.text
    if status != operation.success:
        assert_fails_in_own_words(operation.dialect, answer)


# ---------------------------------------------------------------- tokens

MALFORMED_AUTHORIZATIONS = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer a b",
    "Bearer a.b.c",
    "Bearer " + "x" * 8000,
    "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    "Bearer \x80",
    "Bearer null",
    "Basic dXNlcjpwYXNz",
    "Token abc",
    'Digest username="x"',
    ", Bearer x",
]


@pytest.mark.parametrize("value", MALFORMED_AUTHORIZATIONS)
def test_a_malformed_authorization_is_401_whatever_the_body(value: str, service: Service) -> None:
    [operation] = [o for o in OPERATIONS if o.optional]
    for body in (b"{}", b"", b"[", b" " * (LIMIT + 1)):
        answer = post(service, operation, body, JSON | {"Authorization": value})
        assert_refused(operation, answer, 401)
        assert answer.json() == {"message": "未授权访问"}
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("alter", ["payload", "signature", "algorithm"])
def test_a_forged_token_is_401(alter: str, service: Service, administrator: str) -> None:
    [operation] = [o for o in OPERATIONS if o.optional]
    header, payload, signature = administrator.split(".")
    forged = {
        "payload": f"{header}.{payload[:-2]}AA.{signature}",
        "signature": f"{header}.{payload}.{signature[::-1]}",
        "algorithm": f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.",
    }[alter]
    answer = send(service, operation, {}, forged)
    assert_refused(operation, answer, 401)


def test_no_malformed_request_was_logged_as_a_crash(service: Service) -> None:
    crashes = re.findall(r"ERROR authsvc.*unexpected", service.log_text())
    assert crashes == []
