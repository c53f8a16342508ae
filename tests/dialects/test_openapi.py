"""OpenAPI: a document per mounted dialect, complete, valid, true to what the service answers."""

import importlib.util
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from authsvc import dialects, settings
from authsvc.app import create_app
from authsvc.core import errors
from authsvc.infra.database import db
from authsvc.web.dialect import UseCases
from authsvc.web.openapi.document import WITHOUT_CAPTCHA, operations_of
from authsvc.web.openapi.promises import raised_by
from tests.dialects.make_examples import files, place_of, shown
from tests.dialects.situations import (
    FILES,
    GOLDEN,
    MOUNTS,
    OLDER_EDITION,
    Situation,
    given_trouble,
    masked,
    prepare,
    service_for,
)
from tests.dialects.stores import Stores
from tests.support.client import Client
from tests.support.service import Service

EDITIONS = [*dialects.REGISTRY, OLDER_EDITION]
CRASHES = "crash"


@pytest.fixture
def document(edition: str, stores: Stores, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The document of an edition, as its service gives it out."""
    services = {OLDER_EDITION: "older_edition", **{name: name for name in MOUNTS}}
    asked: Service = request.getfixturevalue(services.get(edition, "service"))
    return document_of(asked, edition.removesuffix(WITHOUT_CAPTCHA))


def document_of(service: Service, name: str) -> dict[str, Any]:
    """Returns a document."""
    answer = Client(service.first).get(f"/openapi/{name}.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    document: dict[str, Any] = answer.json()
    return document


def operation_at(document: dict[str, Any], place: str) -> dict[str, Any]:
    """Returns the operation of a place, as `POST /login`."""
    method, path = place.split()
    operation: dict[str, Any] = document["paths"][path][method.lower()]
    return operation


def contents(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the bodies of a response."""
    yield from response.get("content", {}).values()


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_document_is_valid(edition: str, document: dict[str, Any]) -> None:
    validate(document, cls=OpenAPIV31SpecValidator)
    assert document["openapi"] == "3.1.0"


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_route_is_in_the_document_with_an_id_of_its_own(
    edition: str, document: dict[str, Any]
) -> None:
    known = {
        (f"{method} {path}", name)
        for method, path, name, _ in operations_of(
            dialects.REGISTRY[edition.removesuffix(WITHOUT_CAPTCHA)]
        )
    }
    told = {
        (f"{method.upper()} {path}", operation["operationId"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }
    assert told == known


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_golden_status_is_in_the_document(edition: str, document: dict[str, Any]) -> None:
    missing = []
    for file in FILES:
        situation = Situation.read(file)
        if situation.dialect == edition:
            place, status = place_of(situation), situation.answer["status"]
            known = (
                operation_at(document, place)["responses"]
                if place
                else {name[-3:] for name in document["components"]["responses"]}
            )
            missing += [] if str(status) in known else [(file.stem, place, status)]
    assert missing == []


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_failure_is_in_the_words_of_the_table(edition: str, document: dict[str, Any]) -> None:
    shown = [
        (json.dumps(example["value"], ensure_ascii=False), response["description"])
        for item in document["paths"].values()
        for operation in item.values()
        if "responses" in operation
        for status, response in operation["responses"].items()
        if operation["operationId"] != "introspect"
        for content in contents(response)
        for name, example in content.get("examples", {}).items()
        if "-in-chinese" not in name and (int(status) >= 400 or is_failure(example["value"]))
    ]
    assert shown
    for answered, described in shown:
        told = [line[2:].partition(" (`")[0] for line in described.splitlines()]
        words = [re.sub(r"\\{\w+\\}", ".+", re.escape(sentence)) for sentence in told]
        assert any(re.search(sentence, answered) for sentence in words), (answered, described)


def is_failure(answer: dict[str, Any]) -> bool:
    """Tells whether a success of HTTP says that it is none."""
    return bool(answer.get("code", 200) != 200)


def examples() -> list[Any]:
    """Returns the files whose answers are examples."""
    found = []
    for folder in sorted(GOLDEN.iterdir()):
        text = (dialects.EXAMPLES / f"{folder.name}.json").read_text(encoding="utf-8")
        for place, of_operation in json.loads(text).items():
            found += [
                pytest.param(folder.name, place, one["name"], id=f"{folder.name}/{one['name']}")
                for one in of_operation
                if place
            ]
    return found


@pytest.mark.parametrize(("edition", "place", "name"), examples())
def test_every_example_is_what_the_service_answers(
    edition: str,
    place: str,
    name: str,
    document: dict[str, Any],
    stores: Stores,
    request: pytest.FixtureRequest,
) -> None:
    situation = Situation.read(GOLDEN / edition / f"{name}.json")
    golden, response = situation.answer["body"], str(situation.answer["status"])
    [example] = [
        content["examples"][name]["value"]
        for content in contents(operation_at(document, place)["responses"][response])
        if name in content.get("examples", {})
    ]
    assert example == shown(golden)
    if situation.trouble == CRASHES:
        return  # replayed in process, with all that is golden
    service = service_for(situation, request)
    stores.forget_users()
    prepare(situation, service, stores)
    with given_trouble(situation, stores):
        answer = situation.send(service)
    assert answer.status == situation.answer["status"]
    assert shown(masked(answer.json(), golden)) == example


def test_the_examples_are_made_from_the_golden_answers_of_today() -> None:
    """`python -m tests.dialects.make_examples` makes them anew."""
    made = dict(files())
    assert sorted(dialects.EXAMPLES.iterdir()) == sorted(made)
    for file, text in made.items():
        assert file.read_text(encoding="utf-8") == text, file.name


@pytest.mark.parametrize("edition", ["session", "token", "admin", "envelope", "ruoyi"])
def test_the_chinese_documents_are_described_in_chinese(
    edition: str, document: dict[str, Any]
) -> None:
    for item in document["paths"].values():
        for operation in item.values():
            if "summary" in operation:
                assert any("\u4e00" <= letter <= "\u9fff" for letter in operation["summary"])
    for header in document["components"]["headers"].values():
        assert any("\u4e00" <= letter <= "\u9fff" for letter in header["description"])


def servers(service: Service, base: str, **headers: str) -> dict[str, list[str]]:
    """Returns the servers of every document, as one port tells them."""
    client = Client(base)
    documents = client.get("/openapi", headers=headers).json()["documents"]
    for one in documents:
        document = client.get(one["url"], headers=headers).json()
        known = [each["url"] for each in document["servers"] if "variables" not in each]
        assert known == one["servers"]
    return {one["dialect"]: one["servers"] for one in documents}


def test_a_mount_is_a_relative_server_on_its_port_and_a_url_on_another(service: Service) -> None:
    shared = {"session": ["/"], "admin": ["/api/auth"], "native": ["/v1"]}
    first = {"token": ["/api"], "envelope": [f"{service.second}/api"]}
    second = {"token": [f"{service.first}/api"], "envelope": ["/api"]}
    assert servers(service, service.first) == shared | first
    assert servers(service, service.second) == shared | second


@pytest.mark.parametrize("host", ["login.example.com", "login.example.com:8443", "[::1]:1", "a b"])
def test_where_a_proxy_changes_ports_the_origin_of_another_port_is_left_open(
    service: Service, host: str
) -> None:
    told = servers(service, service.first, Host=host)
    assert (told["native"], told["envelope"]) == (["/v1"], [])
    answer = Client(service.first).get("/openapi/envelope.json", headers={"Host": host})
    validate(answer.json(), cls=OpenAPIV31SpecValidator)
    [server] = answer.json()["servers"]
    assert server["url"] == "{origin}/api"
    assert server["variables"]["origin"]["default"] == f"http://localhost:{service.ports[1]}"
    assert servers(service, service.second, Host=host)["envelope"] == ["/api"]


def test_the_older_edition_tells_of_no_captcha_at_sign_up(older_edition: Service) -> None:
    operation = operation_at(document_of(older_edition, "session"), "POST /signup")
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert sorted(schema["properties"]) == ["email", "password", "username"]
    assert operation["responses"]["400"]["description"] == "- Invalid request"


def test_a_failure_under_the_status_of_a_success_is_told_of_beside_it(ruoyi: Service) -> None:
    operation = operation_at(document_of(ruoyi, "ruoyi"), "POST /login")
    [(status, response)] = operation["responses"].items()
    content = response["content"]["application/json"]
    done, failed = content["schema"]["anyOf"]
    assert (status, failed) == ("200", {"$ref": "#/components/schemas/Failure"})
    assert done["required"] == ["code", "msg", "token"]
    assert "\n- 验证码已失效 (`500`)\n" in response["description"]
    shown = {name: example["value"]["code"] for name, example in content["examples"].items()}
    assert set(shown.values()) == {200, 500}
    sent = operation["requestBody"]["content"]["application/json"]["examples"]
    assert sent
    assert {shown[name] for name in sent} == {200}


def test_two_successes_of_one_status_stand_beside_each_other(ruoyi: Service) -> None:
    operation = operation_at(document_of(ruoyi, "ruoyi"), "GET /captchaImage")
    content = operation["responses"]["200"]["content"]["application/json"]
    on, off, failed = content["schema"]["anyOf"]
    assert on["required"] == ["code", "msg", "captchaEnabled", "uuid", "img"]
    assert off["required"] == ["code", "msg", "captchaEnabled"]
    assert failed == {"$ref": "#/components/schemas/Failure"}


def test_without_the_captcha_of_the_log_in_its_document_tells_of_none(
    service_with: Callable[..., Service],
) -> None:
    off = service_with({"AUTHSVC_MOUNTS": MOUNTS["ruoyi"], "AUTHSVC_RUOYI_CAPTCHA": "off"})
    operation = operation_at(document_of(off, "ruoyi"), "POST /login")
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert sorted(schema["properties"]) == ["password", "username"]
    assert "验证码" not in operation["responses"]["200"]["description"]


def test_every_port_gives_out_the_same_documents_but_for_the_servers(service: Service) -> None:
    for name in dialects.REGISTRY.keys() - MOUNTS.keys():
        first, second = (
            Client(base).get(f"/openapi/{name}.json").json()
            for base in (service.first, service.second)
        )
        assert first | {"servers": []} == second | {"servers": []}


@pytest.mark.parametrize("host", ['x"y', "a b", ""])
def test_a_host_that_is_none_is_not_repeated(host: str, sixth: Flask) -> None:
    environ = {"HTTP_HOST": host, "SERVER_PORT": "8080"}
    answer = sixth.test_client().get("/openapi/memo.json", environ_overrides=environ)
    assert answer.get_json()["servers"][1]["url"] == "{origin}/notes"


def test_a_document_is_kept_and_asked_for_again(service: Service) -> None:
    client = Client(service.first)
    answer = client.get("/openapi/token.json")
    assert answer.headers["Cache-Control"] == "no-cache"
    headers = {"If-None-Match": answer.headers["ETag"]}
    again = client.get("/openapi/token.json", headers=headers)
    assert (again.status, again.body) == (304, b"")


def test_a_page_of_another_origin_may_read_the_documents(service: Service) -> None:
    headers = {"Origin": "http://localhost:5173"}
    answer = Client(service.first).get("/openapi/token.json", headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"


def test_nothing_that_makes_documents_is_imported_before_one_is_asked_for() -> None:
    code = "import sys, authsvc.app; print('apispec' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("False\n", "")


def test_without_docstrings_the_documents_are_there_and_the_operator_is_warned(
    tmp_path: Path,
) -> None:
    code = """
from authsvc import dialects, settings
from authsvc.app import create_app
from authsvc.cautions import cautions
chosen = settings.load()
client = create_app(chosen).test_client()
print({client.get(f"/openapi/{name}.json").status_code for name in dialects.REGISTRY})
print(*cautions(chosen))
"""
    mounts = ", ".join(f"{name}=/{name}" for name in dialects.REGISTRY)
    run = subprocess.run(
        [sys.executable, "-OO", "-c", code],
        env={"AUTHSVC_DATA": str(tmp_path), "AUTHSVC_MOUNTS": mounts},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout.splitlines()[-2:] == [
        "{200}",
        "Python runs with -OO: the OpenAPI documents lack what docstrings say.",
    ], run.stderr


def test_cookies_are_a_way_to_prove_who_asks_where_they_are_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv("AUTHSVC_COOKIES", "on")
    app = create_app(settings.load())
    document = app.test_client().get("/openapi/native.json").get_json()
    with app.app_context():
        db.engine.dispose()
    validate(document, cls=OpenAPIV31SpecValidator)
    ways = {
        place: operation_at(document, place)["security"]
        for place in ("GET /me", "DELETE /me", "POST /token/refresh", "POST /introspect")
    }
    assert ways == {
        "GET /me": [{"bearer": []}, {"accessCookie": []}],
        "DELETE /me": [{"bearer": []}, {"accessCookie": [], "page": []}],
        "POST /token/refresh": [{}, {"refreshCookie": [], "page": []}],
        "POST /introspect": [{"client": []}, {}],
    }
    schemes = document["components"]["securitySchemes"]
    assert schemes["accessCookie"]["name"] == "__Host-authsvc-access"
    assert schemes["page"] == {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": "The value of the cookie that scripts can read, "
        "beside a cookie that they cannot.",
    }
    off = document_of(service, "native")
    assert sorted(off["components"]["securitySchemes"]) == ["bearer", "client"]
    assert "security" not in operation_at(off, "POST /token/refresh")


def test_documents_are_not_counted(limited: Service) -> None:
    client = Client(limited.first)
    answers = [client.get("/openapi/session.json") for _ in range(3)]
    assert {answer.status for answer in answers} == {200}
    assert "X-RateLimit-Limit" not in answers[-1].headers


@pytest.mark.parametrize("path", ["/openapi/nobody.json", "/openapi/token", "/openapi/"])
def test_there_is_no_document_of_what_is_not_mounted(path: str, service: Service) -> None:
    answer = Client(service.first).get(path)
    assert (answer.status, answer.json()) == (404, {"error": "Not found"})


PAGE = '''
from typing import Literal, TypedDict
from flask import Blueprint
from marshmallow import fields
from marshmallow.validate import Length
from authsvc.core.errors import InvalidToken, UsersUnavailable
from authsvc.web.bearer import bearer_token
from authsvc.web.body import Body, read, takes
from authsvc.web.dialect import Dialect, ErrorTable, accounts
from authsvc.web.errors import BadRequest, MethodNotAllowed, NotFound
from authsvc.web.errors import RequestEntityTooLarge, TooManyRequests, UnsupportedMediaType
from authsvc.web.limits import limited

memo = Blueprint("memo", __name__)

class NoteBody(Body):
    text = fields.String(required=True, validate=Length(max=9))

class Note(TypedDict):
    id: str
    text: str

class Failure(TypedDict):
    wrong: str

NOTE = NoteBody()
ERRORS = ErrorTable({
    BadRequest: (400, "No note"),
    InvalidToken: (401, "Who is there?"),
    NotFound: (404, "Nothing here"),
    MethodNotAllowed: (405, "Not so"),
    RequestEntityTooLarge: (413, "Too long"),
    UnsupportedMediaType: (415, "No note"),
    TooManyRequests: (429, "Too often"),
    UsersUnavailable: (503, "Nobody at home"),
    Exception: (500, "Broken"),
}, {"keep": {Exception: (500, "Not kept")}})

def failure(_: BaseException, status: int, sentence: str) -> tuple[Failure, int]:
    return {"wrong": sentence}, status

@memo.put("/notes/<note_id>")
@limited("password")
@takes(NOTE)
def keep(note_id: str) -> tuple[Note, Literal[201]]:
    """Keep a note."""
    accounts.who_is(bearer_token())
    return {"id": note_id, "text": read()["text"]}, 201

DIALECT = Dialect("memo", (memo,), ERRORS, failure, title="Notes")
'''


@pytest.fixture
def sixth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """An application with a dialect more, which came through the registry alone."""
    file = tmp_path / "memo.py"
    file.write_text(PAGE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("memo", file)
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    monkeypatch.setitem(dialects.REGISTRY, "memo", page.DIALECT)
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv("AUTHSVC_MOUNTS", "memo=/memos, memo=:3000/notes")
    app = create_app(settings.load())
    yield app
    with app.app_context():
        db.engine.dispose()


def test_a_new_dialect_has_a_whole_document_by_itself(sixth: Flask) -> None:
    answer = sixth.test_client().get("/openapi/memo.json", base_url="http://localhost:8080")
    document = answer.get_json()
    validate(document, cls=OpenAPIV31SpecValidator)
    assert document["info"]["title"] == "Notes"
    assert document["servers"] == [{"url": "/memos"}, {"url": "http://localhost:3000/notes"}]
    [(path, item)] = document["paths"].items()
    operation = item["put"]
    assert path == "/notes/{note_id}"
    assert (operation["operationId"], operation["summary"]) == ("keep", "Keep a note")
    assert operation["security"] == [{"bearer": []}]
    body = operation["requestBody"]
    assert body["required"] is True
    assert body["content"]["application/json"]["schema"] == {
        "type": "object",
        "properties": {"text": {"type": "string", "maxLength": 9}},
        "required": ["text"],
    }
    said = {status: one["description"] for status, one in operation["responses"].items()}
    assert said == {
        "201": "Done.",
        "400": "- No note",
        "401": "- Who is there?",
        "413": "- Too long",
        "415": "- No note",
        "429": "- Too often",
        "500": "- Not kept",
        "503": "- Nobody at home",
    }
    assert {"Retry-After", "X-RateLimit-Limit", "X-Request-ID"} <= operation["responses"]["429"][
        "headers"
    ].keys()
    assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
    assert document["components"]["schemas"]["Failure"]["required"] == ["wrong"]
    assert sorted(document["components"]["responses"]) == ["Status404", "Status405"]


@cache
def promises() -> dict[str, list[str]]:
    """Returns what every use case promises to raise."""
    return {
        f"{case}.{name}": [fact.__name__ for fact in raised_by(function)]
        for case, kind in get_type_hints(UseCases).items()
        for name, function in inspect.getmembers(kind, inspect.isfunction)
    }


def test_what_the_use_cases_promise_is_understood() -> None:
    assert promises()["accounts.log_in"] == [
        "UserDisabled",
        "InvalidCredentials",
        "TooManyAttempts",
        "UsersUnavailable",
        "SessionsUnavailable",
        "Overloaded",
    ]
    for case, kind in get_type_hints(UseCases).items():
        for name, function in inspect.getmembers(kind, inspect.isfunction):
            text = inspect.getdoc(function) or ""
            for fact in vars(errors):
                if (
                    "Raises:" in text
                    and f" {fact}" in text.partition("Raises:")[2].partition(":")[0]
                ):
                    assert fact in promises()[f"{case}.{name}"]
