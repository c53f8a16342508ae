"""Bodies, query strings and captcha answers: whatever they are, they are read or refused.

python -m tests.hostile.fuzz_bodies FOLDER -max_total_time=60
"""

import base64
from collections.abc import Callable
from contextlib import suppress

from tests.hostile.fuzzing import fuzz, instrumented, text_of

with instrumented():  # type: ignore[attr-defined]
    from flask import Flask

    from authsvc import dialects
    from authsvc.core.captchas import SIGN_UP, CaptchaPolicy, Captchas
    from authsvc.core.errors import CaptchaRejected, InvalidCaptchaAnswer, InvalidData
    from authsvc.infra.proof_of_work import AltchaWork
    from authsvc.web import body
    from authsvc.web.body import MalformedBody
    from authsvc.web.errors import RequestEntityTooLarge, UnsupportedMediaType
    from tests.core.fakes import FakeCaptchaStore, FakeClock, FakePainter, FakeSpeaker
    from tests.hostile.operations import operations_of

REFUSALS = (MalformedBody, RequestEntityTooLarge, UnsupportedMediaType, InvalidData)
TYPES = ["application/json", "application/json; charset=utf-7", "text/plain", "", ";;", "a/b+json"]
WORK_ID = "pow-" + "A" * 22

app = Flask("fuzz")
app.config["MAX_CONTENT_LENGTH"] = body.READ_BYTES
operations = operations_of(", ".join(f"{name}=/{name}" for name in dialects.REGISTRY))
schemas = [(schema, operation) for operation in operations for schema in operation.schemas]
clock = FakeClock()


def new_captchas() -> Captchas:
    """Returns captchas of which none was issued yet."""
    return Captchas(
        store=FakeCaptchaStore(clock),
        painter=FakePainter(),
        speaker=FakeSpeaker(),
        proof_of_work=AltchaWork(b"k" * 32, 1000),
        clock=clock,
        key=b"key",
        policy=CaptchaPolicy(),
    )


def whole_body(data: bytes) -> None:
    """Bytes, read with a schema of any operation; the refusal can be worded."""
    schema, operation = schemas[data[0] % len(schemas)]
    content_type = TYPES[data[1] % len(TYPES)]
    with app.test_request_context(method="POST", data=data[2:], content_type=content_type):
        body.peek("username")
        try:
            body.load_json(schema, optional=data[1] > 127)
        except REFUSALS as refusal:
            dialect = operation.dialect
            dialect.failure(refusal, *dialect.errors.row(refusal, operation.view))


def query(data: bytes) -> None:
    """A query string, read with a schema of any operation."""
    schema, _ = schemas[data[0] % len(schemas)]
    asked = {"QUERY_STRING": data[1:].decode("latin-1")}
    with app.test_request_context(environ_overrides=asked), suppress(*REFUSALS):
        body.load_query(schema)


def answer(data: bytes) -> None:
    """An answer to a captcha: text, or what ought to be a solved puzzle."""
    captchas = new_captchas()
    captcha_id = captchas.issue(SIGN_UP, "192.0.2.1") if data[0] % 2 else WORK_ID
    with suppress(CaptchaRejected, InvalidCaptchaAnswer):
        captchas.redeem(captcha_id, text_of(data[1:]), SIGN_UP, "192.0.2.1")


def puzzle(data: bytes) -> None:
    """The JSON of a solved puzzle, in the encoding that its protocol gives it."""
    with suppress(CaptchaRejected, InvalidCaptchaAnswer):
        given = base64.b64encode(data).decode()
        new_captchas().redeem(WORK_ID, given, SIGN_UP, "192.0.2.1")


def with_two_choices(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Returns a target that is given two bytes at least, by which it chooses."""
    return lambda data: target(data.ljust(2, b"\0"))


def number_of(schema: str) -> bytes:
    """Returns the byte that chooses the first schema of a class."""
    return bytes([[type(known).__name__ for known, _ in schemas].index(schema)])


SEEDS = [
    b"\0" + number_of("LoginBody") + b'\0{"username":"a","username":"b","password":"c"}',
    b"\0" + number_of("ProfileBody") + b'\0{"data":' + b"[" * 100 + b"]" * 100 + b"}",
    b"\0" + number_of("NewUserBody") + b'\0{"permission":' + b"9" * 4400 + b"}",
    b'\0\0\0{"username":"\\ud800","\\ud800":1}',
    b"\0\0\0\xff\xfe{}",
    b"\0\0\0" + b'{"a":' * 3000,
    b"\1" + number_of("UsersQuery") + b"limit=1&cursor=MQ&search=%ff&permission=0",
    b"\1" + number_of("AuditQuery") + b"limit=%D9%A1&limit=2&user=%00",
    b"\1" + number_of("UsersQuery") + b"search=\x9c",
    b"\2\1ABCDE",
    b"\2\0e30=",
    b'\3{"algorithm":"SHA-256","challenge":"x","number":1,"salt":"a?expires=1","signature":"y"}',
    b'\3{"algorithm":1,"challenge":null,"number":"x","salt":[],"signature":{}}',
    b"\3[]",
]

if __name__ == "__main__":
    fuzz([with_two_choices(target) for target in (whole_body, query, answer, puzzle)], SEEDS)
