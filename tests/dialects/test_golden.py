"""Golden answers: one file for each situation, compared whole, keys in their order.

A file says which `situation` it is, and whether it is `documented` or left open by the document;
what is `given` before the request (users, a captcha, a token, and what has gone wrong); the
`request`, the `answer`, and which users there are `after` it, or are `absent`. In what is sent,
{captcha}, {answer} and {token} stand for the given ones; in what is expected, "<…>" stands for a
form (see FORMS).
"""

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from PIL import Image

from authsvc import settings
from authsvc.app import create_app
from authsvc.core.accounts import Accounts, Policy
from authsvc.core.captchas import CaptchaPolicy, Captchas
from authsvc.core.guessing import Guard
from authsvc.core.passwords import PasswordRule
from authsvc.infra.database import db
from tests.dialects.pages import port_of
from tests.dialects.stores import Stores
from tests.support.client import Answer, Client, encode
from tests.support.mariadb import MariaDB
from tests.support.processes import HOST
from tests.support.service import Service

GOLDEN = Path(__file__).with_name("golden")
FILES = sorted(GOLDEN.glob("*/*.json"))
OLDER_EDITION = "session-without-captcha"

FORMS = {
    "<jwt>": r"eyJ[\w-]+\.[\w-]+\.[\w-]+",
    "<digits>": r"[1-9][0-9]*",
    "<captcha id>": r"[\w-]{22}",
}
PNG = "<png>"

_addresses = itertools.count(1)


def fresh_address() -> str:
    """Returns an address of this machine that no limit has counted yet."""
    number = next(_addresses)
    return f"127.9.{number // 250}.{number % 250 + 1}"


@dataclass
class Situation:
    """A golden file.

    Args:
        dialect: the folder, which is the document's name.
        given, request, answer, after: see the module.
        values: what {captcha}, {answer} and {token} stand for.
    """

    dialect: str
    given: dict[str, Any]
    request: dict[str, Any]
    answer: dict[str, Any]
    after: dict[str, list[str]]
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "Situation":
        content = json.loads(file.read_text(encoding="utf-8"))
        return cls(
            dialect=file.parent.name,
            given=content.get("given", {}),
            request=content["request"],
            answer=content["answer"],
            after=content.get("after", {}),
        )

    @property
    def trouble(self) -> str | None:
        """What has gone wrong, if anything."""
        return self.given.get("trouble")

    def filled_in(self, value: Any) -> Any:
        """Returns what is to be sent, with the given captcha, answer and token in it."""
        if isinstance(value, str):
            return re.sub(r"\{(\w+)\}", lambda match: self.values[match[1]], value)
        if isinstance(value, dict):
            return {key: self.filled_in(item) for key, item in value.items()}
        return value

    def body(self) -> bytes | None:
        """Returns the body as bytes."""
        if "body" in self.request:
            return encode(self.filled_in(self.request["body"]))
        raw = self.request.get("raw")
        if isinstance(raw, dict):
            raw = raw["repeat"] * raw["times"]
        return None if raw is None else str(raw).encode()

    def send(self, service: Service) -> Answer:
        """Sends the request; with no limit left, from an address that has used it up."""
        port = port_of(service, self.request["port"])
        client = Client(f"http://{HOST}:{port}", source=fresh_address())
        method, path = self.request["method"], self.filled_in(self.request["path"])
        if self.trouble == "limit used up":
            assert client.request(method, path).status != 429
        headers = self.filled_in(self.request.get("headers", {}))
        return client.request(method, path, body=self.body(), headers=headers)

    def send_in_process(self, app: Flask) -> Answer:
        """Sends the request to an application of this process."""
        answer = app.test_client().open(
            self.request["path"],
            method=self.request["method"],
            base_url=f"http://localhost:{self.request['port']}",
            data=self.body(),
            headers=self.request.get("headers"),
        )
        return Answer(answer.status_code, answer.status, answer.headers, answer.data)  # type: ignore[arg-type]

    def check(self, answer: Answer) -> None:
        """Holds an answer to the golden one."""
        assert answer.status == self.answer["status"], answer.text
        for name, value in self.answer["headers"].items():
            assert _masked(answer.headers[name], value) == value, name
        if self.answer["body"] == PNG:
            with Image.open(BytesIO(answer.body)) as image:
                assert (image.format, image.size) == ("PNG", (300, 110))
            return
        got = json.loads(answer.text, object_pairs_hook=_without_duplicates)
        assert _as_text(_masked(got, self.answer["body"])) == _as_text(self.answer["body"])
        assert b"\\u" not in answer.body, "Chinese is written as it is"


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


def _masked(got: Any, golden: Any) -> Any:
    """Returns what was got, with "<…>" where the golden answer asks for a form and it is kept."""
    if isinstance(got, dict) and isinstance(golden, dict):
        return {key: _masked(value, golden.get(key)) for key, value in got.items()}
    if golden == "<int>":
        return golden if type(got) is int and got > 0 else got
    if isinstance(golden, str) and golden in FORMS and isinstance(got, str):
        return golden if re.fullmatch(FORMS[golden], got) else got
    return got


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def prepare(situation: Situation, service: Service, stores: Stores) -> None:
    """Makes the given users, captcha and token."""
    given = situation.given
    for user in given.get("users", []):
        make_user(service, stores, user)
    if "captcha" in given:
        situation.values |= new_captcha(service, stores, given["captcha"])
    if "token" in given:
        situation.values["token"] = new_token(service, stores, given["token"])


def make_user(service: Service, stores: Stores, user: dict[str, Any]) -> str:
    """Signs a user up and returns the token; without an e-mail address, it is taken away again."""
    body = {"password": "password-1", "email": f"{user['username']}@example.com", **user}
    client = Client(service.first, source=fresh_address())
    answer = client.post("/api/register", body)
    assert answer.status == 201, answer.text
    if "email" not in user:
        sql = "UPDATE users SET email = NULL, email_key = NULL WHERE username = ?"
        stores.sql(sql, user["username"])
    stores.promote(user["username"], user.get("permission", 0))
    token: str = answer.json()["token"]
    return token


def new_captcha(service: Service, stores: Stores, state: str) -> dict[str, str]:
    """Returns the id and the answer of a captcha that is live, used or expired."""
    client = Client(service.first, source=fresh_address())
    captcha_id: str = client.get("/captcha").json()["captchaId"]
    answer = stores.answer_of(captcha_id)
    if state == "used":
        stores.captchas.take(captcha_id, "nobody")
    elif state == "expired":
        stores.expire_captcha(captcha_id)
    return {"captcha": captcha_id, "answer": answer}


def new_token(service: Service, stores: Stores, given: dict[str, Any]) -> str:
    """Returns the token of a new user, fresh, expired or revoked."""
    token = make_user(service, stores, given["of"])
    if given.get("state") == "expired":
        return stores.expire_token(token)
    if given.get("state") == "revoked":
        stores.revoke(token)
    return token


@contextmanager
def given_trouble(situation: Situation, stores: Stores) -> Iterator[None]:
    """Lets things go wrong as the file says, and puts them right again."""
    troubles: dict[str | None, Callable[[], AbstractContextManager[None]]] = {
        "redis down": stores.redis_down,
        "redis full": stores.redis_full,
        "database down": stores.database_down,
        "overloaded": stores.overloaded,
        "limit used up": nullcontext,
        None: nullcontext,
    }
    with troubles[situation.trouble]():
        yield


class Broken:
    """A port behind which every call ends in an exception that nobody expects."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*_: object, **__: object) -> Any:
            raise RuntimeError(f"{name} is broken")

        return call


@pytest.fixture
def broken_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[bool], Flask]]:
    """Makes an application whose every port is broken, with or without captcha."""
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv("AUTHSVC_RATELIMIT_ENABLED", "off")
    monkeypatch.setenv("AUTHSVC_GUESS_LIMIT", "off")
    apps = []

    def make(captcha: bool) -> Flask:
        app = create_app(settings.load())
        broken: Any = Broken()
        rule = PasswordRule(8, frozenset())
        app.extensions["authsvc"] = replace(
            app.extensions["authsvc"],
            accounts=Accounts(broken, broken, rule, broken, Guard(None), broken, Policy()),
            captchas=Captchas(
                store=broken,
                painter=broken,
                speaker=broken,
                proof_of_work=None,
                clock=time.time,
                key=b"key",
                policy=CaptchaPolicy(required=captcha),
            ),
        )
        apps.append(app)
        return app

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def files(crash: bool) -> list[Any]:
    """Returns the golden files, each named by its folder and itself."""
    return [
        pytest.param(file, id=f"{file.parent.name}/{file.stem}")
        for file in FILES
        if (Situation.read(file).trouble == "crash") == crash
    ]


@pytest.mark.parametrize("file", files(crash=False))
def test_the_answer_is_the_golden_one(
    file: Path, stores: Stores, request: pytest.FixtureRequest
) -> None:
    situation = Situation.read(file)
    service: Service = request.getfixturevalue(_service_for(situation))
    stores.forget_users()
    prepare(situation, service, stores)
    with given_trouble(situation, stores):
        answer = situation.send(service)
    situation.check(answer)
    assert [stores.has_user(name) for name in situation.after.get("absent", [])] in ([], [False])
    assert [stores.has_user(name) for name in situation.after.get("users", [])] in ([], [True])


def _service_for(situation: Situation) -> str:
    older = situation.dialect == OLDER_EDITION
    if situation.trouble == "limit used up":
        return "limited_older_edition" if older else "limited"
    return "older_edition" if older else "service"


@pytest.mark.parametrize("file", files(crash=True))
def test_a_crash_is_answered_in_golden_words(
    file: Path, broken_app: Callable[[bool], Flask]
) -> None:
    situation = Situation.read(file)
    app = broken_app(situation.dialect != OLDER_EDITION)
    situation.check(situation.send_in_process(app))


def test_the_golden_words_hold_when_the_database_server_is_gone(
    breakable_mariadb: MariaDB, stores: Stores
) -> None:
    situations = [Situation.read(file) for file in FILES]
    down = [s for s in situations if s.trouble == "database down" and s.dialect != OLDER_EDITION]
    url = breakable_mariadb.create_database(database := "dialects_golden")
    service = stores.service("on-mariadb", {"AUTHSVC_DATABASE_URL": url})
    service.migrate()
    with service:
        for situation in down:
            prepare(situation, service, stores)
            breakable_mariadb.query("DELETE FROM users", database)
        breakable_mariadb.kill()
        answers = [situation.send(service) for situation in down]
    for situation, answer in zip(down, answers, strict=True):
        situation.check(answer)


EVERY_DIALECT_HAS = {404, 405, 413, 415, 429, 500, 503}


@pytest.mark.parametrize("dialect", sorted(folder.name for folder in GOLDEN.iterdir()))
def test_every_dialect_has_a_golden_answer_for_every_status(dialect: str) -> None:
    answers = [Situation.read(file).answer for file in FILES if file.parent.name == dialect]
    assert {answer["status"] for answer in answers} >= EVERY_DIALECT_HAS
    for answer in answers:
        assert ("Allow" in answer["headers"]) == (answer["status"] == 405)
        assert ("Retry-After" in answer["headers"]) == (answer["status"] in (429, 503))
