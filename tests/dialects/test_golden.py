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
from authsvc.core.profile import Profile
from authsvc.core.sessions import SessionPolicy, Sessions
from authsvc.infra.database import db
from tests.dialects.situations import (
    FILES,
    GOLDEN,
    MOUNTS,
    OLDER_EDITION,
    Situation,
    given_trouble,
    prepare,
    service_for,
)
from tests.dialects.stores import Stores
from tests.support.mariadb import MariaDB


class Broken:
    """A port behind which every call ends in an exception that nobody expects."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*_: object, **__: object) -> Any:
            raise RuntimeError(f"{name} is broken")

        return call


@pytest.fixture
def broken_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Situation], Flask]]:
    """Makes an application whose every port is broken, for what a situation is about."""
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv("AUTHSVC_RATELIMIT_ENABLED", "off")
    monkeypatch.setenv("AUTHSVC_GUESS_LIMIT", "off")
    apps = []

    def make(situation: Situation) -> Flask:
        for name, value in situation.settings.items():
            monkeypatch.setenv(name, value)
        app = create_app(settings.load())
        broken: Any = Broken()
        rule = PasswordRule(8, frozenset())
        sessions = Sessions(broken, broken, broken, broken, time.time, b"key", SessionPolicy())
        app.extensions["authsvc"] = replace(
            app.extensions["authsvc"],
            accounts=Accounts(broken, broken, rule, sessions, Guard(None), broken, Policy()),
            sessions=sessions,
            profile=Profile(broken, broken, rule, sessions, Guard(None), Policy()),
            captchas=Captchas(
                store=broken,
                painter=broken,
                speaker=broken,
                proof_of_work=None,
                clock=time.time,
                key=b"key",
                policy=CaptchaPolicy(required=situation.dialect != OLDER_EDITION),
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


def check(file: Path, stores: Stores, request: pytest.FixtureRequest) -> None:
    """Lets a situation arise, and holds its answer and what is stored then to the file."""
    situation = Situation.read(file)
    service = service_for(situation, request)
    stores.forget_users()
    prepare(situation, service, stores)
    with given_trouble(situation, stores):
        answer = situation.send(service)
    situation.check(answer)
    assert [stores.has_user(name) for name in situation.after.get("absent", [])] in ([], [False])
    assert [stores.has_user(name) for name in situation.after.get("users", [])] in ([], [True])


@pytest.mark.parametrize("file", files(crash=False))
def test_the_answer_is_the_golden_one(
    file: Path, stores: Stores, request: pytest.FixtureRequest
) -> None:
    check(file, stores, request)


@pytest.mark.parametrize("file", files(crash=True))
def test_a_crash_is_answered_in_golden_words(
    file: Path, broken_app: Callable[[Situation], Flask]
) -> None:
    situation = Situation.read(file)
    situation.check(situation.send_in_process(broken_app(situation)))


@pytest.mark.parametrize("table", [{}, {"AUTHSVC_MOUNTS": MOUNTS["ruoyi"]}], ids=["", "ruoyi"])
def test_the_golden_words_hold_when_the_database_server_is_gone(
    table: dict[str, str], breakable_mariadb: MariaDB, stores: Stores
) -> None:
    situations = [Situation.read(file) for file in FILES if file.parent.name != OLDER_EDITION]
    down = [s for s in situations if s.trouble == "database down" and s.settings == table]
    assert down
    url = breakable_mariadb.create_database(database := f"dialects_golden_{len(table)}")
    service = stores.service(database, {"AUTHSVC_DATABASE_URL": url, **table})
    service.migrate()
    with service:
        for situation in down:
            prepare(situation, service, stores)
            breakable_mariadb.query("DELETE FROM users", database)
        breakable_mariadb.kill()
        answers = [situation.send(service) for situation in down]
    for situation, answer in zip(down, answers, strict=True):
        situation.check(answer)


EVERY_DIALECT_HAS = {
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "wrong-content-type",
    429: "limit-used-up",
    500: "crash",
    503: "overloaded",
}
"""Status → how the names of the files about it end, whatever status a document has for it."""
SAY_200 = {"ruoyi"}
"""The documents whose failures are successes of HTTP."""
WAITS = ("limit-used-up", "overloaded", "too-many-failures")


def _tells_the_wait(answer: dict[str, Any]) -> bool:
    """Nobody knows when a store that is down comes back; one document has a 503 for that."""
    is_down = "_unavailable" in json.dumps(answer["body"])
    return answer["status"] in (429, 503) and not is_down


@pytest.mark.parametrize("dialect", sorted(folder.name for folder in GOLDEN.iterdir()))
def test_every_dialect_has_a_golden_answer_for_every_status(dialect: str) -> None:
    files = [file for file in FILES if file.parent.name == dialect]
    answers = {file.stem: Situation.read(file).answer for file in files}
    for status, ending in EVERY_DIALECT_HAS.items():
        about = [answer for stem, answer in answers.items() if stem.endswith(ending)]
        assert about, ending
        assert {answer["status"] for answer in about} == ({200} if dialect in SAY_200 else {status})
    for stem, answer in answers.items():
        waits = _tells_the_wait(answer) or (dialect in SAY_200 and stem.endswith(WAITS))
        not_allowed = stem.endswith(EVERY_DIALECT_HAS[405])
        assert ("Allow" in answer["headers"]) == not_allowed, stem
        assert ("Retry-After" in answer["headers"]) == waits, stem
