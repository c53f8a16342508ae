"""What every answer carries, who names a request, and what is told of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import NotFound

from authsvc import settings
from authsvc.app import create_app
from authsvc.core.errors import InvalidCredentials, UsersUnavailable
from authsvc.infra.database import db
from authsvc.web.observing import outcome_of

SECURITY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
MADE = re.compile("[0-9a-f]{16}")
PROXY, STRANGER = "10.0.0.1", "192.0.2.1"
Told = list[dict[str, Any]]


@pytest.fixture
def told() -> Iterator[Told]:
    """What is written of requests."""
    before = structlog.get_config()
    lines: Told = []

    def keep(_: Any, level: str, event: Any) -> Any:
        lines.append(dict(event, level=level))
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    yield lines
    structlog.configure(**before)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told) -> Iterator[Flask]:
    """The application, on an empty SQLite and without Redis."""
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv("AUTHSVC_RATELIMIT_ENABLED", "off")
    monkeypatch.setenv("AUTHSVC_TRUSTED_PROXIES", PROXY)
    app = create_app(settings.load())

    @app.get("/version/own")
    def own() -> tuple[str, int, dict[str, str]]:
        return "", 200, {"Content-Security-Policy": "default-src 'self'"}

    @app.get("/version/crash")
    def crash() -> str:
        raise ZeroDivisionError

    @app.get("/version/nothing")
    def nothing() -> tuple[str, int]:
        return "", 204

    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/version", 200),
        ("HEAD", "/version", 200),
        ("OPTIONS", "/version", 200),
        ("GET", "/livez", 200),
        ("GET", "/readyz", 503),
        ("GET", "/version/nothing", 204),
        ("POST", "/login", 400),
        ("OPTIONS", "/login", 200),
        ("GET", "/nothing", 404),
        ("GET", "/api/auth/nothing", 404),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/login", 405),
        ("GET", "/captcha", 500),
        ("GET", "/version/crash", 500),
    ],
)
def test_every_answer_tells_browsers_to_take_it_for_nothing_else(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert {name: answer.headers.getlist(name) for name in SECURITY} == {
        name: [value] for name, value in SECURITY.items()
    }
    assert MADE.fullmatch(answer.headers["X-Request-ID"])


def test_a_page_may_choose_its_own_policy(client: FlaskClient) -> None:
    answer = client.get("/version/own")
    assert answer.headers.getlist("Content-Security-Policy") == ["default-src 'self'"]


def test_an_answer_without_a_body_names_no_type(client: FlaskClient) -> None:
    assert "Content-Type" not in client.get("/version/nothing").headers


class TestTheName:
    @pytest.mark.parametrize("given", ["12345678", "a" * 64, "A.b-C_d9"])
    def test_is_taken_from_a_trusted_proxy(self, client: FlaskClient, given: str) -> None:
        assert self.name(client, PROXY, given) == given

    @pytest.mark.parametrize(
        "given", ["", "1234567", "a" * 65, "space here", "new\tline1", "ünicöde1"]
    )
    def test_is_made_where_the_given_one_has_another_form(
        self, client: FlaskClient, given: str
    ) -> None:
        assert MADE.fullmatch(self.name(client, PROXY, given))

    def test_is_taken_from_nobody_else_though_a_proxy_is_said_to_be_before_them(
        self, client: FlaskClient
    ) -> None:
        assert MADE.fullmatch(self.name(client, STRANGER, "12345678"))

    @staticmethod
    def name(client: FlaskClient, peer: str, given: str) -> str:
        answer = client.get(
            "/version",
            headers={"X-Request-ID": given, "X-Forwarded-For": PROXY},
            environ_base={"REMOTE_ADDR": peer},
        )
        return answer.headers["X-Request-ID"]


class TestTheLine:
    def test_tells_what_was_asked_and_what_came_of_it(
        self, client: FlaskClient, told: Told
    ) -> None:
        answer = client.post("/login?next=secret", environ_base={"REMOTE_ADDR": STRANGER})
        [line] = told
        assert 0 < line.pop("duration") < 10
        assert line == {
            "event": "request",
            "level": "info",
            "logger": "authsvc.access",
            "request_id": answer.headers["X-Request-ID"],
            "dialect": "session",
            "operation": "log_in",
            "outcome": "malformed_body",
            "status": 400,
            "method": "POST",
            "client": STRANGER,
        }

    @pytest.mark.parametrize(
        ("method", "path", "dialect", "operation", "outcome"),
        [
            ("GET", "/version", "service", "tell_version", "ok"),
            ("GET", "/metrics", "service", "metrics", "ok"),
            ("GET", "/nothing/at/all", "session", "none", "not_found"),
            ("PUT", "/v1/login", "native", "none", "method_not_allowed"),
            ("GET", "/v1/me", "native", "me", "invalid_token"),
            ("POST", "/v1/introspect", "native", "introspect", "unauthorized"),
            ("GET", "/v1/captcha/not-one", "native", "captcha_image", "unknown_captcha"),
            ("GET", "/captcha", "session", "create_captcha_id", "captchas_unavailable"),
            ("GET", "/version/crash", "service", "crash", "unexpected"),
        ],
    )
    def test_says_in_a_word_what_came_of_it(
        self,
        client: FlaskClient,
        told: Told,
        method: str,
        path: str,
        dialect: str,
        operation: str,
        outcome: str,
    ) -> None:
        client.open(path, method=method)
        [line] = told
        assert (line["dialect"], line["operation"], line["outcome"]) == (
            dialect,
            operation,
            outcome,
        )

    @pytest.mark.parametrize("path", ["/livez", "/readyz"])
    def test_is_not_written_of_a_probe(self, client: FlaskClient, told: Told, path: str) -> None:
        client.get(path)
        assert told == []


def test_an_outcome_is_the_name_of_a_fact_and_a_crash_has_none() -> None:
    facts = (
        InvalidCredentials,
        UsersUnavailable,
        NotFound,
        KeyError,
        type("Mine", (KeyError,), {}),
    )
    assert [outcome_of(fact) for fact in facts] == [
        "invalid_credentials",
        "users_unavailable",
        "not_found",
        "unexpected",
        "unexpected",
    ]


def test_what_clients_choose_makes_no_series(client: FlaskClient) -> None:
    for number in range(5):
        client.get(f"/nothing/{number}")
        client.get(f"/v1/captcha/{'A' * 21}{number}")
        client.open(f"/v1/users/{number}", method=f"ODD{number}")
    series = client.get("/metrics").text
    assert "nothing" not in series
    assert "ODD" not in series
    assert len(re.findall(r"^authsvc_requests_total", series, re.MULTILINE)) == 3


class TestMetrics:
    @pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
    def test_are_for_this_machine(self, client: FlaskClient, peer: str) -> None:
        answer = client.get("/metrics", environ_base={"REMOTE_ADDR": peer})
        assert answer.status_code == 200
        assert "authsvc_hash_queue 0.0" in answer.text

    @pytest.mark.parametrize("peer", [STRANGER, "2001:db8::1", "", PROXY])
    def test_are_for_nobody_else(self, client: FlaskClient, peer: str) -> None:
        self.assert_refused(client.get("/metrics", environ_base={"REMOTE_ADDR": peer}))

    @pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
    def test_are_for_nobody_behind_a_proxy_that_is_not_named(
        self, client: FlaskClient, header: str
    ) -> None:
        peer = {"REMOTE_ADDR": "127.0.0.1"}
        answer = client.get("/metrics", headers={header: "127.0.0.1"}, environ_base=peer)
        self.assert_refused(answer)

    def test_behind_a_trusted_proxy_are_for_the_clients_address(self, client: FlaskClient) -> None:
        peer = {"REMOTE_ADDR": PROXY}
        near, far = {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": f"127.0.0.1, {STRANGER}"}
        assert client.get("/metrics", headers=near, environ_base=peer).status_code == 200
        self.assert_refused(client.get("/metrics", headers=far, environ_base=peer))

    @staticmethod
    def assert_refused(answer: Any) -> None:
        assert (answer.status_code, answer.get_json()) == (403, {"error": "Forbidden"})
