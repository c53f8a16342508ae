"""The pages on the wire: when they are there, what they may load, which mounts they are told."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from authsvc import settings
from authsvc.app import create_app
from authsvc.infra.database import db
from tests.web.test_cautions import PRODUCTION

FIRST, SECOND = "http://localhost:8080", "http://localhost:3000"
DEMO = ("/demo", "/demo/demo.mjs", "/demo/demo.css", "/demo/mounts.json", "/demo/authsvc.mjs")
DOCS = ("/docs", "/docs/native", "/docs/files/docs.mjs", "/docs/files/swagger-ui-bundle.js")

Build = Callable[..., FlaskClient]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """Builds an application as settings describe it, and returns what asks it."""
    apps = []
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))

    def make(**chosen: str) -> FlaskClient:
        for name, value in chosen.items():
            monkeypatch.setenv(f"AUTHSVC_{name}", value)
        apps.append(create_app(settings.load()))
        return apps[-1].test_client()

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def policy(client: FlaskClient, path: str, base: str = FIRST) -> dict[str, str]:
    """Return a page's Content-Security-Policy: directive → sources."""
    header = client.get(path, base_url=base).headers["Content-Security-Policy"]
    directives = [directive.partition(" ") for directive in header.split("; ")]
    return {name: sources for name, _, sources in directives}


@pytest.mark.parametrize("path", [*DEMO, *DOCS])
def test_development_shows_every_page(build: Build, path: str) -> None:
    assert build().get(path).status_code == 200


def test_production_shows_the_reference_and_no_demo(build: Build) -> None:
    client = build(**PRODUCTION)
    assert {client.get(path).status_code for path in DEMO} == {404}
    assert {client.get(path).status_code for path in DOCS} == {200}


def test_production_shows_the_pages_that_were_asked_for(build: Build) -> None:
    client = build(**PRODUCTION, DEMO="on", DOCS="off")
    assert {client.get(path).status_code for path in DEMO} == {200}
    assert {client.get(path).status_code for path in DOCS} == {404}


@pytest.mark.parametrize("path", ["/demo/../demo.html", "/demo/%2e%2e", "/demo/x", "/docs/x"])
def test_nothing_else_is_sent(build: Build, path: str) -> None:
    answer = build().get(path)
    assert answer.status_code == 404
    assert answer.content_type == "application/json"


def test_the_reference_of_what_is_not_mounted_is_not_there(build: Build) -> None:
    client = build(MOUNTS="envelope=/api")
    assert client.get("/docs/envelope").status_code == 200
    assert client.get("/docs/native").status_code == 404


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/demo", "text/html; charset=utf-8"),
        ("/demo/demo.css", "text/css; charset=utf-8"),
        ("/demo/demo.mjs", "text/javascript; charset=utf-8"),
        ("/demo/icon.svg", "image/svg+xml; charset=utf-8"),
        ("/docs/files/swagger-ui.css", "text/css; charset=utf-8"),
    ],
)
def test_a_file_that_is_known_is_not_sent_again(build: Build, path: str, content_type: str) -> None:
    client = build()
    first = client.get(path)
    assert first.content_type == content_type
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("path", ["/demo", "/docs", "/docs/native"])
def test_a_page_loads_nothing_but_the_services_own(build: Build, path: str) -> None:
    allowed = policy(build(), path)
    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"] == "'self'"
    assert allowed["connect-src"] == "'self' http://localhost:3000"
    assert allowed["media-src"] == "'self' http://localhost:3000 blob:"
    assert allowed["img-src"] == "'self' data: blob:"
    assert allowed["style-src"] == "'self'"
    assert "unsafe" not in str(allowed)


def test_a_page_on_the_other_port_may_ask_the_first(build: Build) -> None:
    assert policy(build(), "/demo", SECOND)["connect-src"] == "'self' http://localhost:8080"


@pytest.mark.parametrize("host", ["localhost; script-src *", "[::1]", "a b", "*"])
def test_a_strange_name_of_the_host_is_not_put_into_the_policy(build: Build, host: str) -> None:
    page = build().get("/demo", base_url=FIRST, headers={"Host": f"{host}:8080"})
    assert "; connect-src 'self'; base-uri" in page.headers["Content-Security-Policy"]


def told_mounts(client: FlaskClient, base: str, **asked: Any) -> dict[str, str | None]:
    """Returns where the demo is told that each dialect is."""
    mounts = client.get("/demo/mounts.json", base_url=base, **asked).get_json()["mounts"]
    return {mount["dialect"]: mount["url"] for mount in mounts}


def test_the_demo_is_told_where_each_mount_is_seen_from_its_port(build: Build) -> None:
    client = build()
    shared = {"session": "/", "admin": "/api/auth", "native": "/v1"}
    first = {"token": "/api", "envelope": "http://localhost:3000/api"}
    second = {"token": "http://localhost:8080/api", "envelope": "/api"}
    assert told_mounts(client, FIRST) == shared | first
    assert told_mounts(client, SECOND) == shared | second


@pytest.mark.parametrize("path", ["/demo", "/docs", "/docs/envelope"])
def test_behind_a_proxy_that_changes_ports_no_other_port_is_named(build: Build, path: str) -> None:
    client = build(DOCS="on")
    asked = {"headers": {"Host": "login.example.com"}}
    places = told_mounts(client, FIRST, **asked)
    assert (places["token"], places["envelope"]) == ("/api", None)
    page = client.get(path, base_url=FIRST, **asked)
    assert "3000" not in page.text + page.headers["Content-Security-Policy"]
    assert told_mounts(client, SECOND, **asked)["envelope"] == "/api"


def test_a_reference_whose_operations_are_elsewhere_says_so(build: Build) -> None:
    client = build()
    behind = client.get("/docs/envelope", base_url=FIRST, headers={"Host": "login.example.com"})
    assert 'id="elsewhere"' in behind.text
    assert 'id="elsewhere"' not in client.get("/docs/envelope", base_url=FIRST).text


@pytest.mark.parametrize(("trusted", "scheme"), [("127.0.0.1", "https"), ("10.0.0.1", "http")])
def test_a_trusted_proxy_is_believed_about_the_scheme(
    build: Build, trusted: str, scheme: str
) -> None:
    headers = {"X-Forwarded-Proto": "https"}
    places = told_mounts(build(TRUSTED_PROXIES=trusted), FIRST, headers=headers)
    assert places["envelope"] == f"{scheme}://localhost:3000/api"


def test_a_name_of_a_file_may_have_any_length(build: Build) -> None:
    client = build()
    for folder in ("/demo", "/docs/files"):
        assert client.get(f"{folder}/{'a' * 3000}").status_code == 404


def test_the_demo_is_told_what_a_sign_up_asks_for(build: Build) -> None:
    told = build(SIGNUP_CAPTCHA="off", PASSWORD_MIN_LENGTH="12").get("/demo/mounts.json").get_json()
    assert (told["signUpCaptcha"], told["passwordMinLength"]) == (False, 12)
