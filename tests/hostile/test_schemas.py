"""Whatever is sent, its dialect answers with a row of its table, and nothing crashes.

The operations and their schemas are found by walking the registry: a new dialect is covered as
soon as it has its line there.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse
from werkzeug.wrappers import Request

from authsvc import dialects
from authsvc import settings as service_settings
from authsvc.app import create_app
from authsvc.core.users import fold
from authsvc.infra.database import db
from authsvc.web.mounts import MountedFlask
from authsvc.web.openapi.failures import samples_of
from tests.conftest import in_ci
from tests.dialects.pages import PASSWORD
from tests.dialects.stores import TEST_VALUE, Stores
from tests.hostile.operations import Operation, every_schema, operations_of
from tests.hostile.values import LIVE_CAPTCHA, bodies_of, paths_of, queries_of

MOUNTS = ", ".join(f"{name}=/{name}" for name in dialects.REGISTRY)
OPERATIONS = operations_of(MOUNTS)
SETTINGS = {
    "AUTHSVC_BIND": "127.0.0.1:8080",
    "AUTHSVC_MOUNTS": MOUNTS,
    "AUTHSVC_JWT_SECRET": "a signing key for tests, long enough",
    "AUTHSVC_RATELIMIT_ENABLED": "off",
    "AUTHSVC_GUESS_LIMIT": "off",
    "AUTHSVC_ARGON2_MEMORY_KIB": "8",
    "AUTHSVC_ARGON2_TIME_COST": "1",
    "AUTHSVC_CAPTCHA_TEST_VALUE": TEST_VALUE,
    "AUTHSVC_CAPTCHA_POW": "on",
    "AUTHSVC_COOKIES": "on",
    "AUTHSVC_INTROSPECTION_CLIENTS": "tester:a-secret-of-a-tester-1234567890",
}

INTROSPECTOR = "Basic dGVzdGVyOmEtc2VjcmV0LW9mLWEtdGVzdGVyLTEyMzQ1Njc4OTA="

# The session document gives an unknown captcha no other status.
DOCUMENTED_500 = {("session", "captcha_image")}
# RFC 7662 and RFC 6749 word these, not a table.
INTROSPECTION = [(401, {"error": "invalid_client"}), (400, {"error": "invalid_request"})]
# What a table's row is completed with.
DETAILS = ("errors", "details", "reason", "minLength")

_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Accept-Language": st.sampled_from(["zh", "zh;q=x,en", ",;=", "*;q=0", "é", "z" * 3000]),
        "X-Forwarded-For": st.sampled_from(["1.2.3.4", "::1, x", ",,,", "9" * 3000, "[::1]:80"]),
        "Cookie": st.sampled_from(["__Host-authsvc-access=x", "=;=;", "a" * 3000]),
        "X-Request-ID": st.sampled_from(["", "x" * 3000, '"}{', "é"]),
        "User-Agent": st.sampled_from(["", "\x7f", "é" * 500]),
        "Idempotency-Key": st.just("x"),
    },
)
_CONTENT_TYPES = st.sampled_from(
    ["application/json"] * 40
    + ["application/json; charset=utf-7", "application/problem+json", "text/plain", "", ";;;"]
    + ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/\0"]
)
_AUTHORIZATIONS = st.sampled_from(
    ["ours"] * 30
    + ["", "Bearer", "Bearer \x80", "Basic e30=", "Bearer a.b.c", "Basic \xff"]
    + [INTROSPECTOR] * 6
)


class Failures(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


class Target:
    """An application in this process, and an administrator who is logged in."""

    def __init__(self, app: MountedFlask, stores: Stores, failures: Failures) -> None:
        self.app = app
        self.stores = stores
        self.failures = failures
        self.client: FlaskClient = app.test_client(use_cookies=False)
        self._token = ""

    def ask(self, method: str, path: str, **options: Any) -> TestResponse:
        """Sends a request to the port of the mounts."""
        return self.client.open(path, method=method, base_url="http://localhost:8080", **options)

    def authorization(self) -> str:
        """Returns the administrator's header; logs in anew if the last token was ended."""
        bearer = {"Authorization": f"Bearer {self._token}"}
        if self.ask("GET", "/native/me", headers=bearer).status_code == 200:
            return bearer["Authorization"]
        self._restore_administrator()
        body = {"username": "boss", "password": PASSWORD}
        self._token = self.ask("POST", "/native/login", json=body).get_json()["accessToken"]
        return f"Bearer {self._token}"

    def with_captcha(self, body: bytes) -> bytes:
        """Returns a body with the id of a live captcha of every purpose, if it has its place."""
        if LIVE_CAPTCHA.encode() not in body:
            return body
        issued = self.ask("GET", "/ruoyi/captchaImage").get_json()["uuid"]
        return body.replace(LIVE_CAPTCHA.encode(), issued.encode())

    def _restore_administrator(self) -> None:
        key = fold("boss")
        self.stores.sql("DELETE FROM users WHERE username_key = ?", key)
        body = {"username": "boss", "password": PASSWORD, "email": "boss@example.com"}
        self.stores.sql(
            "UPDATE users SET email = NULL, email_key = NULL WHERE email_key = ?",
            "boss@example.com",
        )
        assert self.ask("POST", "/token/register", json=body).status_code == 201
        self.stores.sql("UPDATE users SET permission = 2 WHERE username_key = ?", key)


@pytest.fixture(scope="session")
def target(server_folder: Path) -> Iterator[Target]:
    """The application over stores of its own."""
    stores = Stores(server_folder / "hostile-schemas")
    stores.open()
    failures = Failures()
    logging.getLogger().addHandler(failures)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTHSVC_DATA", str(stores.folder))
        patch.setenv("AUTHSVC_DATABASE_URL", stores.database_url)
        patch.setenv("AUTHSVC_REDIS_URL", stores.redis.url)
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        app = create_app(service_settings.load())
    assert isinstance(app, MountedFlask)
    yield Target(app, stores, failures)
    logging.getLogger().removeHandler(failures)
    with app.app_context():
        db.engine.dispose()
    stores.close()


def rows_of(
    target: Target, operation: Operation, asked: Request
) -> list[tuple[int, dict[str, Any]]]:
    """Returns every failure that the operation's table has for a request, without its details."""
    table = operation.dialect.errors
    rows = [*table.rows.items(), *table.by_operation.get(operation.view, {}).items()]
    found = []
    with target.app.request_context(asked.environ):
        for fact, row in rows:
            for error in samples_of(fact):
                answer = target.app.make_response(operation.dialect.failure(error, *row))
                found.append((answer.status_code, without_details(answer.get_json())))
    return found + (INTROSPECTION if operation.view == "introspect" else [])


def is_success(answer: TestResponse) -> bool:
    """Tells whether an answer says that all is well; a document may say otherwise with a 200."""
    if answer.status_code >= 400 or not answer.is_json:
        return answer.status_code < 400
    body = answer.get_json()
    return not isinstance(body, dict) or body.get("code", 200) == 200


def without_details(body: dict[str, Any]) -> dict[str, Any]:
    """Returns what is the same in every answer of a row, in whatever language."""
    return {
        name: value
        for name, value in body.items()
        if name not in DETAILS and not ("type" in body and name in ("title", "detail"))
    }


def test_every_schema_of_every_dialect_is_reached() -> None:
    reached = {id(schema) for operation in OPERATIONS for schema in operation.schemas}
    assert [schema for schema in every_schema() if id(schema) not in reached] == []
    assert {operation.dialect.name for operation in OPERATIONS} == set(dialects.REGISTRY)


@settings(
    deadline=None,
    max_examples=60,
    derandomize=in_ci(),
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_nothing_that_is_sent_is_answered_with_anything_but_a_row_of_the_table(
    operation: Operation, data: st.DataObject, target: Target
) -> None:
    path = data.draw(paths_of(operation.path, operation.variables), label="path")
    options: dict[str, Any] = {
        "query_string": dict(data.draw(queries_of(operation.schemas), label="query"))
    }
    if operation.method != "GET":
        options["data"] = target.with_captcha(data.draw(bodies_of(operation.schemas), label="body"))
        options["content_type"] = data.draw(_CONTENT_TYPES, label="type")
    headers = data.draw(_HEADERS, label="headers")
    authorization = data.draw(_AUTHORIZATIONS, label="authorization")
    headers["Authorization"] = target.authorization() if authorization == "ours" else authorization
    target.failures.records.clear()
    answer = target.ask(operation.method, quote(path, safe="/%"), headers=headers, **options)
    check(target, operation, answer)


def check(target: Target, operation: Operation, answer: TestResponse) -> None:
    """Checks that an answer is a success, or a failure in the words of the table."""
    assert target.failures.records == []
    if is_success(answer):
        return
    body = json.loads(answer.data)
    allowed = 500 if (operation.dialect.name, operation.view) in DOCUMENTED_500 else 499
    assert answer.status_code <= allowed, answer.data
    rows = rows_of(target, operation, answer.request)
    assert (answer.status_code, without_details(body)) in rows, answer.data


@pytest.mark.parametrize("path", ["/native/users", "/native/audit", "/native/captcha/x/audio"])
def test_a_query_string_of_bytes_that_are_no_text_is_malformed(path: str, target: Target) -> None:
    target.failures.records.clear()
    headers = {"Authorization": target.authorization()}
    answer = target.ask("GET", path, headers=headers, environ_overrides={"QUERY_STRING": "a=\x9c"})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "malformed_request")
    assert target.failures.records == []
