"""The ledger and the words by which every trial is judged."""

import json
from http.client import HTTPMessage

import pytest

from tests.e2e.frontends import ENVELOPE, SESSION, TOKEN, Dialect
from tests.faults.ledger import Entry, Ledger, resumed_at
from tests.faults.words import DIALECTS, NATIVE, is_documented
from tests.support.client import Answer

JSON, PROBLEM = "application/json", "application/problem+json"


def answer(status: int, body: object, media_type: str = JSON) -> Answer:
    headers = HTTPMessage()
    headers["Content-Type"] = media_type
    content = body if isinstance(body, str) else json.dumps(body)
    return Answer(status, "", headers, content.encode())


def entry(began: float, status: int) -> Entry:
    body = {"error": "Internal server error"}
    return Entry(f"at {began}", TOKEN, "sign-up", answer(status, body), began, 1.0)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    "given",
    [
        answer(502, "<html><h1>502 Bad Gateway</h1></html>", "text/html"),
        answer(502, "", JSON),
        answer(500, {}),
        answer(503, {"error": "Internal server error"}, "text/plain"),
        answer(409, {"error": "User already exists"}),
        answer(200, []),
    ],
    ids=lambda given: f"{given.status}-{given.text[:12]}",
)
def test_what_no_document_has_is_seen(dialect: Dialect, given: Answer) -> None:
    assert not is_documented(dialect, "sign-up", given)


def test_what_the_documents_have_is_not_held_against_the_service() -> None:
    failed = {"error": "Failed to create user"}
    assert is_documented(SESSION, "sign-up", answer(500, failed))
    assert is_documented(SESSION, "sign-up", answer(502, failed))
    assert is_documented(TOKEN, "log-in", answer(503, {"error": "Service unavailable"}))
    envelope = {
        "success": False,
        "message": "服务繁忙，请稍后再试",
        "statusCode": 503,
        "errorCode": "SERVICE_UNAVAILABLE",
    }
    assert is_documented(ENVELOPE, "sign-up", answer(503, envelope))
    problem = {
        "type": "urn:authsvc:problem:users_unavailable",
        "title": "Users unavailable",
        "status": 503,
        "detail": "The database does not answer; try later.",
        "code": "users_unavailable",
    }
    assert is_documented(NATIVE, "sign-up", answer(503, problem, PROBLEM))
    assert not is_documented(NATIVE, "sign-up", answer(503, problem, JSON))


def test_service_has_resumed_with_the_first_success_after_the_last_failure() -> None:
    entries = [entry(1, 500), entry(3, 201), entry(4, 500), entry(6, 201), entry(7, 201)]
    assert resumed_at(entries, since=2) == 7
    assert resumed_at(entries[:3], since=2) is None
    assert resumed_at(entries[:2], since=2) == 4


def test_the_proxys_answer_is_the_services_unless_the_service_was_killed() -> None:
    ledger = Ledger()
    proxied = ledger.add(entry(1, 502))
    answered = ledger.add(entry(2, 500))
    ledger.add(entry(3, 201))
    assert ledger.refused(service_died=False) == [proxied, answered]
    assert ledger.refused(service_died=True) == [answered]
    assert ledger.unanswered(service_died=True) == [proxied]
