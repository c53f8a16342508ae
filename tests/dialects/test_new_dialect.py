"""The README's promise: a document more is one page and one line in the registry, nothing else.

The page lies in a temporary file, and imports what a page may import; the line stands in a WSGI
entry beside it; gunicorn serves both as it serves the others.
"""

import ast
import sys
from collections.abc import Iterator

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from tests.dialects.clients.browser import FETCH, Page
from tests.dialects.pages import (
    ADMIN_LOGIN,
    ENVELOPE_LOGIN,
    PASSWORD,
    SESSION_LOGIN,
    TOKEN_LOGIN,
    TOKEN_REGISTER,
    fresh_name,
    send,
)
from tests.dialects.stores import Stores
from tests.support.client import Answer, Client
from tests.support.processes import DidNotStart
from tests.support.service import Service

PAGE = '''
"""The document Doors, doors.md."""

from typing import Literal, TypedDict

from flask import Blueprint
from marshmallow import fields
from marshmallow.validate import Length

from authsvc.core.errors import InvalidCredentials, InvalidInput, InvalidToken, UsernameTaken
from authsvc.web.admission import hashes
from authsvc.web.bearer import bearer_token
from authsvc.web.body import Body, read, takes
from authsvc.web.client import client
from authsvc.web.dialect import Dialect, ErrorTable, accounts
from authsvc.web.errors import BadRequest, MethodNotAllowed, NotFound
from authsvc.web.errors import RequestEntityTooLarge, TooManyRequests, UnsupportedMediaType
from authsvc.web.limits import limited

doors = Blueprint("doors", __name__)


class KeyBody(Body):
    name = fields.String(required=True, validate=Length(min=1))
    word = fields.String(required=True, validate=Length(min=1))


class Opened(TypedDict):
    opened: bool
    key: str


class Seen(TypedDict):
    name: str


class Failure(TypedDict):
    opened: Literal[False]
    why: str


KEY = KeyBody()

ERRORS = ErrorTable(
    {
        BadRequest: (400, "That is no key."),
        InvalidInput: (422, "Such a key cannot be cut."),
        InvalidCredentials: (403, "The door stays shut."),
        InvalidToken: (401, "Who is there?"),
        UsernameTaken: (409, "This key is in use."),
        NotFound: (404, "There is no such door."),
        MethodNotAllowed: (405, "Doors do not turn this way."),
        RequestEntityTooLarge: (413, "The key is too big."),
        UnsupportedMediaType: (415, "That is not even metal."),
        TooManyRequests: (429, "Knock more slowly."),
        Exception: (500, "The hinges broke."),
    },
    {"open_door": {Exception: (500, "The lock broke.")}},
)


def failure(_: BaseException, status: int, why: str) -> tuple[Failure, int]:
    return {"opened": False, "why": why}, status


@doors.post("/cut")
@hashes
@limited("signup")
@takes(KEY)
def cut_key() -> tuple[Opened, Literal[201]]:
    """Cut a key."""
    body = read()
    _, key = accounts.sign_up(accounts.new_user(body["name"], body["word"]), client())
    return {"opened": True, "key": key}, 201


@doors.post("/open")
@hashes
@limited("login", name_field="name")
@takes(KEY)
def open_door() -> Opened:
    """Open a door."""
    body = read()
    _, key = accounts.log_in(body["name"], body["word"], client())
    return {"opened": True, "key": key}


@doors.get("/who/<room>")
def who_is_in(room: str) -> Seen:
    """Tell who is in."""
    return {"name": accounts.who_is(bearer_token()).username}


DIALECT = Dialect("doors", (doors,), ERRORS, failure, title="Doors")
'''
ENTRY = """
import doors

from authsvc import dialects

dialects.REGISTRY["doors"] = doors.DIALECT

from authsvc.boot import app_or_exit

app = app_or_exit()
"""
OTHERS = "session=/, token=/api, admin=/api/auth, native=/v1"
LEFT_OPEN = {"flask", "marshmallow"}


class ServiceWithDoors(Service):
    """authsvc whose WSGI entry knows a dialect more."""

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "doors.py").write_text(PAGE, encoding="utf-8")
        (self.folder / "entry.py").write_text(ENTRY, encoding="utf-8")

    def command(self) -> list[str]:
        entry = ["--pythonpath", str(self.folder), "entry:app"]
        return [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", *entry]


def with_doors(stores: Stores, name: str, mounts: str) -> ServiceWithDoors:
    """Return a service over the stores; its second port is 3000 in `mounts`."""
    known = stores.service(name)
    env = known.environment() | {"AUTHSVC_WORKERS": "1"}
    env["AUTHSVC_MOUNTS"] = mounts.replace(":3000", f":{known.ports[1]}")
    return ServiceWithDoors(known.folder, env, ports=known.ports)


@pytest.fixture(scope="module")
def service(stores: Stores) -> Iterator[Service]:
    """The service with the dialect beside the others, on one port of two."""
    mounts = f"{OTHERS}, envelope=:3000/api, doors=/doors, doors=:3000/gates"
    with with_doors(stores, "with-doors", mounts) as running:
        yield running


@pytest.fixture
def name() -> str:
    """A name that nobody has."""
    return fresh_name("porter")


def cut(service: Service, name: str) -> Answer:
    return Client(service.first).post("/doors/cut", {"name": name, "word": PASSWORD})


def opened(service: Service, name: str, word: str = PASSWORD) -> Answer:
    return Client(service.second).post("/gates/open", {"name": name, "word": word})


def test_the_page_imports_only_what_a_page_may() -> None:
    modules = {
        node.module or "" for node in ast.walk(ast.parse(PAGE)) if isinstance(node, ast.ImportFrom)
    }
    for module in modules:
        top = module.partition(".")[0]
        assert module.startswith(("authsvc.core.", "authsvc.web.")) or top in {
            *LEFT_OPEN,
            *sys.stdlib_module_names,
        }, module


def test_it_signs_up_and_logs_in_under_every_mount_of_its_own(service: Service, name: str) -> None:
    first = cut(service, name)
    assert (first.status, list(first.json())) == (201, ["opened", "key"])
    again = opened(service, name)
    assert (again.status, again.json()["opened"]) == (200, True)
    headers = {"Authorization": f"Bearer {again.json()['key']}"}
    seen = Client(service.first).get("/doors/who/hall", headers=headers)
    assert (seen.status, seen.json()) == (200, {"name": name})


def test_its_users_log_in_through_every_other_dialect_and_theirs_through_it(
    service: Service, name: str
) -> None:
    assert cut(service, name).status == 201
    for login in (SESSION_LOGIN, TOKEN_LOGIN, ADMIN_LOGIN, ENVELOPE_LOGIN):
        assert send(service, login, {"username": name, "password": PASSWORD}).status == 200
    native = {"username": name, "password": PASSWORD}
    assert Client(service.first).post("/v1/login", native).status == 200
    other = fresh_name("guest")
    body = {"username": other, "password": PASSWORD, "email": f"{other}@example.com"}
    assert send(service, TOKEN_REGISTER, body).status == 201
    assert opened(service, other).status == 200


def test_its_failures_are_in_its_own_words(service: Service, name: str) -> None:
    cut(service, name)
    client = Client(service.first)
    form = {"Content-Type": "text/plain"}
    known = {"name": name, "word": PASSWORD}
    answers = {
        (400, "That is no key."): client.post("/doors/open", {}),
        (401, "Who is there?"): client.get("/doors/who/hall"),
        (403, "The door stays shut."): opened(service, name, "wrong"),
        (404, "There is no such door."): client.get("/doors/nowhere"),
        (405, "Doors do not turn this way."): client.get("/doors/open"),
        (409, "This key is in use."): cut(service, name),
        (413, "The key is too big."): client.post("/doors/cut", known | {"more": "x" * 66_000}),
        (415, "That is not even metal."): client.request(
            "POST", "/doors/open", body=b"key", headers=form
        ),
        (422, "Such a key cannot be cut."): client.post("/doors/cut", known | {"word": "short"}),
    }
    for (status, why), answer in answers.items():
        assert (answer.status, answer.json()) == (status, {"opened": False, "why": why})


def test_dead_stores_are_told_in_its_own_words(service: Service, stores: Stores, name: str) -> None:
    with stores.redis_down():
        assert cut(service, name).json()["why"] == "The hinges broke."
    with stores.database_down():
        answer = opened(service, name)
        assert (answer.status, answer.json()["why"]) == (500, "The lock broke.")
    assert not stores.has_user(name)


def test_a_page_of_another_origin_may_use_it(service: Service, name: str) -> None:
    page = Page(service.second, "http://localhost:5173")
    reply = page.send("POST", "/gates/cut", {"name": name, "word": PASSWORD}, FETCH)
    assert reply.status == 201
    assert page.sent == ["OPTIONS /gates/cut", "POST /gates/cut"]
    page.close()


def test_its_openapi_document_is_whole_valid_and_listed(service: Service) -> None:
    client = Client(service.first)
    [listed] = [
        one for one in client.get("/openapi").json()["documents"] if one["dialect"] == "doors"
    ]
    assert (listed["title"], listed["language"]) == ("Doors", "en")
    assert listed["servers"] == ["/doors", f"http://127.0.0.1:{service.ports[1]}/gates"]
    document = client.get(listed["url"]).json()
    validate(document, cls=OpenAPIV31SpecValidator)
    said = {
        path: {
            status: response["description"]
            for operation in item.values()
            if "responses" in operation
            for status, response in operation["responses"].items()
        }
        for path, item in document["paths"].items()
    }
    assert sorted(said) == ["/cut", "/open", "/who/{room}"]
    assert said["/cut"]["409"] == "- This key is in use."
    assert said["/open"]["500"] == "- The lock broke."
    assert said["/who/{room}"]["401"] == "- Who is there?"


def test_the_pages_of_the_service_show_it(service: Service) -> None:
    client = Client(service.first)
    assert '<a href="/docs/doors">' in client.get("/docs").text
    assert client.get("/docs/doors").status == 200
    mounts = client.get("/demo/mounts.json").json()["mounts"]
    assert {"dialect": "doors", "url": "/doors"} in mounts


def test_it_is_counted_and_logged_by_its_name(service: Service, name: str) -> None:
    cut(service, name)
    metrics = Client(service.first).get("/metrics").text
    assert 'dialect="doors"' in metrics
    assert "dialect=doors" in service.log_text()


@pytest.mark.parametrize(
    ("mounts", "sentence"),
    [
        ("native=/v1, doors=/v1, doors=/v1", "both claim POST /v1/cut"),
        ("doors=/openapi", "is a path of the service's own"),
        ("doors=:4000/doors", "on which nobody listens"),
        (
            "windows=/windows",
            "names no dialect; there are session, token, admin, envelope, native, ",
        ),
    ],
)
def test_a_table_of_mounts_in_which_it_cannot_be_served_is_refused(
    stores: Stores, mounts: str, sentence: str
) -> None:
    refused = with_doors(stores, fresh_name("refused"), mounts)
    with pytest.raises(DidNotStart) as failure:
        refused.start()
    assert failure.value.exit_status != 0
    assert sentence in failure.value.log_tail


def test_a_clash_with_another_dialect_names_both(stores: Stores) -> None:
    class Clashing(ServiceWithDoors):
        def prepare(self) -> None:
            super().prepare()
            page = self.folder / "doors.py"
            page.write_text(PAGE.replace('"/open"', '"/login"'), encoding="utf-8")

    known = with_doors(stores, fresh_name("clash"), f"{OTHERS}, doors=/api")
    with pytest.raises(DidNotStart) as failure:
        Clashing(known.folder, known.environment(), ports=known.ports).start()
    assert '"token=/api" and "doors=/api" both claim POST /api/login' in failure.value.log_tail
