"""Golden answers: every situation is answered as its file says; see `situations`."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from authsvc import settings
from authsvc.app import create_app
from authsvc.core.accounts import Accounts, Policy
from authsvc.core.captchas import CaptchaPolicy, Captchas
from authsvc.core.guessing import Guard
from authsvc.core.passwords import PasswordRule
from authsvc.infra.database import db
from tests.dialects.situations import (
    FILES,
    GOLDEN,
    OLDER_EDITION,
    Situation,
    given_trouble,
    prepare,
    service_for,
)
from tests.dialects.stores import Stores
from tests.support.mariadb import MariaDB
from tests.support.service import Service


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
    service: Service = request.getfixturevalue(service_for(situation))
    stores.forget_users()
    prepare(situation, service, stores)
    with given_trouble(situation, stores):
        answer = situation.send(service)
    situation.check(answer)
    assert [stores.has_user(name) for name in situation.after.get("absent", [])] in ([], [False])
    assert [stores.has_user(name) for name in situation.after.get("users", [])] in ([], [True])


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


def _tells_the_wait(answer: dict[str, Any]) -> bool:
    """Nobody knows when a store that is down comes back; one document has a 503 for that."""
    is_down = "_unavailable" in json.dumps(answer["body"])
    return answer["status"] in (429, 503) and not is_down


@pytest.mark.parametrize("dialect", sorted(folder.name for folder in GOLDEN.iterdir()))
def test_every_dialect_has_a_golden_answer_for_every_status(dialect: str) -> None:
    answers = [Situation.read(file).answer for file in FILES if file.parent.name == dialect]
    assert {answer["status"] for answer in answers} >= EVERY_DIALECT_HAS
    for answer in answers:
        assert ("Allow" in answer["headers"]) == (answer["status"] == 405)
        assert ("Retry-After" in answer["headers"]) == _tells_the_wait(answer)
