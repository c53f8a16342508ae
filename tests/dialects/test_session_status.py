"""AUTHSVC_SESSION_STATUS=200: log-in and sign-up of the session document fail with HTTP 200.

The words are the golden ones; only the status of these two operations is another.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from authsvc import dialects, settings
from authsvc.app import create_app
from authsvc.infra.database import db
from tests.dialects.conftest import SCARCE, Serve
from tests.dialects.make_examples import place_of
from tests.dialects.situations import FILES, Situation, given_trouble, prepare
from tests.dialects.stores import Stores
from tests.support.client import Client
from tests.support.processes import wait_until
from tests.support.service import Service

ALWAYS_200 = {"AUTHSVC_SESSION_STATUS": "200"}
CHANGED = {"POST /login": "Failed to create session", "POST /signup": "Failed to create user"}


@pytest.fixture(scope="session")
def by_body(serve: Serve) -> Service:
    """The service for clients that read only the body."""
    return serve("by-body", ALWAYS_200)


@pytest.fixture(scope="session")
def limited_by_body(serve: Serve) -> Service:
    """The same, with limits that one request uses up."""
    return serve("limited-by-body", SCARCE | ALWAYS_200)


@pytest.fixture(params=["on", "off"])
def app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Flask]:
    """An application in this process, of each edition of the document."""
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv("AUTHSVC_SIGNUP_CAPTCHA", request.param)
    monkeypatch.setenv("AUTHSVC_SESSION_STATUS", "200")
    app = create_app(settings.load())
    yield app
    with app.app_context():
        db.engine.dispose()


def situations() -> list[Any]:
    """Returns the golden situations of the session document, but for crashes."""
    found = [(file, Situation.read(file)) for file in FILES if file.parent.name == "session"]
    return [pytest.param(one, id=file.stem) for file, one in found if one.trouble != "crash"]


@pytest.mark.parametrize("situation", situations())
def test_log_in_and_sign_up_answer_200_in_golden_words_and_all_else_as_printed(
    situation: Situation, stores: Stores, by_body: Service, limited_by_body: Service
) -> None:
    if place_of(situation) in CHANGED:
        situation = replace(situation, answer=situation.answer | {"status": 200})
    service = limited_by_body if situation.trouble == "limit used up" else by_body
    stores.forget_users()
    prepare(situation, service, stores)
    with given_trouble(situation, stores):
        answer = situation.send(service)
    situation.check(answer)
    assert [stores.has_user(name) for name in situation.after.get("absent", [])] in ([], [False])


def test_other_documents_keep_their_statuses(by_body: Service) -> None:
    first, second = Client(by_body.first), Client(by_body.second)
    assert first.post("/api/login", {}).status == 400
    assert second.post("/api/auth/login", {}).status == 400
    assert second.post("/api/login", {}).status == 400
    assert first.post("/v1/login", {}).status == 400


def test_a_failure_is_still_a_failure_in_the_log_and_the_figures(by_body: Service) -> None:
    client = Client(by_body.first)
    assert client.post("/login", {"username": "nobody", "password": "nothing"}).status == 200
    named = "dialect=session operation=log_in outcome=invalid_credentials status=200"
    assert wait_until(lambda: named in by_body.log_text(), 15)
    labels = 'dialect="session",operation="log_in",outcome="invalid_credentials"'
    assert labels in client.get("/metrics").text


@pytest.mark.parametrize("place", CHANGED)
def test_a_crash_is_answered_200_in_the_words_of_its_operation(app: Flask, place: str) -> None:
    app.extensions["authsvc"] = None
    method, path = place.split()
    answer = app.test_client().open(path, method=method, json={"username": "a", "password": "b"})
    assert (answer.status_code, answer.get_json()) == (200, {"error": CHANGED[place]})


def test_the_document_tells_of_success_and_failure_under_one_status(app: Flask) -> None:
    document = app.test_client().get("/openapi/session.json").get_json()
    validate(document, cls=OpenAPIV31SpecValidator)
    for place, failed in CHANGED.items():
        method, path = place.split()
        responses = document["paths"][path][method.lower()]["responses"]
        assert list(responses) == ["200"]
        said = responses["200"]["description"].splitlines()
        assert said[0] == "成功。"
        assert {"- Invalid request", "- Too many requests", f"- {failed}"} <= set(said)
        assert "Retry-After" in responses["200"]["headers"]
        succeeded, refused = responses["200"]["content"]["application/json"]["schema"]["anyOf"]
        assert sorted(succeeded["properties"]) == ["message", "session_token"]
        assert refused == {"$ref": "#/components/schemas/Failure"}
    assert list(document["paths"]["/captcha"]["get"]["responses"]) == ["200", "429", "500", "503"]
    assert sorted(document["components"]["responses"]) == ["Status404", "Status405"]


def test_the_registry_is_left_as_it_is(app: Flask) -> None:
    rows = dialects.REGISTRY["session"].errors.by_operation["log_in"]
    assert set(rows.values()) == {(500, "Failed to create session")}


def test_the_older_edition_answers_200_too(serve: Serve) -> None:
    service = serve("older-by-body", ALWAYS_200 | {"AUTHSVC_SIGNUP_CAPTCHA": "off"})
    answer = Client(service.first).post("/signup", {})
    assert (answer.status, answer.json()) == (200, {"error": "Invalid request"})
