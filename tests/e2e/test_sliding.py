"""Sessions that slide, in a whole app: a log-in asks for one, and every dialect honours it."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from authsvc import settings
from authsvc.app import create_app
from authsvc.core.clients import Client
from authsvc.infra.connections import connected
from authsvc.infra.database import SigningKeyRow, db
from authsvc.web.dialect import use_cases
from tests.infra.databases import add_administrator, migrated
from tests.support.redis import RedisServer

PASSWORD = "Correct-Horse-7"
NEW_PASSWORD = "Battery-Staple-9"
HERE = Client("192.0.2.1", "192.0.2.1", "a test")
READER = "reports:a-long-enough-secret"
IDLE, DAY = 1800, 86_400
DATABASES = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("mariadb", id="mariadb", marks=pytest.mark.mariadb),
]

Join = Callable[..., Flask]


@pytest.fixture(params=DATABASES)
def join(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Join]:
    """Build apps that share the stores, with Ann as their administrator."""
    redis_server.flush()
    url = f"sqlite:///{tmp_path / 'authsvc.sqlite3'}"
    if request.param == "mariadb":
        url = request.getfixturevalue("mariadb").create_database()
    with migrated(url):
        add_administrator("ann", PASSWORD)
    built = []

    def build(**given: str) -> Flask:
        for name, value in {
            "DATA": str(tmp_path),
            "DATABASE_URL": url,
            "REDIS_URL": redis_server.url,
            "JWT_SECRET": "a signing key for tests, long enough",
            "ARGON2_MEMORY_KIB": "8",
            "ARGON2_TIME_COST": "1",
            "INTROSPECTION_CLIENTS": READER,
            **given,
        }.items():
            monkeypatch.setenv(f"AUTHSVC_{name}", value)
        built.append(create_app(settings.load()))
        return built[-1]

    yield build
    for app in built:
        with app.app_context():
            db.engine.dispose()


def log_in(app: Flask, password: str = PASSWORD) -> str:
    """Log Ann in, into a sliding session."""
    with app.app_context():
        _, token = use_cases().accounts.log_in("ann", password, HERE, sliding=True)
    return token


def ask(client: FlaskClient, method: str, path: str, token: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    return client.open(f"/v1{path}", method=method, json=body, headers=headers)


def status(client: FlaskClient, token: str) -> int:
    return int(ask(client, "GET", "/me", token).status_code)


def listed(client: FlaskClient, token: str) -> list[str]:
    answer = ask(client, "GET", "/me/sessions", token)
    assert answer.status_code == 200, answer.text
    return [session["id"] for session in answer.get_json()["sessions"]]


def said_by(token: str) -> dict[str, Any]:
    said: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return said


def introspected(client: FlaskClient, token: str) -> dict[str, Any]:
    name, _, secret = READER.partition(":")
    answer = client.post("/v1/introspect", data={"token": token}, auth=(name, secret))
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.get_json()
    return told


def test_a_session_goes_on_while_it_is_used_and_ends_when_it_is_idle(join: Join) -> None:
    app = join(SLIDING_IDLE="3")
    client, token = app.test_client(), log_in(app)
    for _ in range(5):
        time.sleep(0.8)
        assert status(client, token) == 200
    time.sleep(3.1)
    assert status(client, token) == 401


def test_a_session_ends_at_the_longest_however_often_it_is_used(join: Join) -> None:
    app = join(SLIDING_IDLE="60", SLIDING_LIFETIME="2")
    client, began, token = app.test_client(), time.monotonic(), log_in(app)
    said = said_by(token)
    assert said["exp"] - said["iat"] == 2
    while status(client, token) == 200:
        assert time.monotonic() - began < 20
        time.sleep(0.1)
    assert status(client, token) == 401
    assert introspected(client, token) == {"active": False}


def test_a_token_is_honoured_for_a_day_by_its_own_account(join: Join) -> None:
    said = said_by(log_in(join()))
    assert said["exp"] - said["iat"] == DAY


def test_another_service_is_told_when_the_session_ends_unless_it_is_used(join: Join) -> None:
    app = join()
    token = log_in(app)
    told = introspected(app.test_client(), token)
    assert told["active"] is True
    assert time.time() + IDLE - 60 < told["exp"] <= time.time() + IDLE


def test_every_dialect_honours_it_and_fifty_uses_at_once_are_all_good(join: Join) -> None:
    app = join(RATELIMIT_ENABLED="off")
    token = log_in(app)
    body = {"username": "bob", "password": PASSWORD, "email": "bob@example.com", "permission": 0}
    headers = {"Authorization": f"Bearer {token}"}
    made = app.test_client().post("/api/auth/createUser", json=body, headers=headers)
    assert made.status_code == 201, made.text
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda _: status(app.test_client(), token), range(50)))
    assert found == [200] * 50


def test_sessions_are_listed_and_ended_one_by_one(join: Join) -> None:
    app = join()
    client = app.test_client()
    mine, other, third = (log_in(app) for _ in range(3))
    ids = {said_by(token)["sid"] for token in (mine, other, third)}
    assert set(listed(client, mine)) == ids
    ended = ask(client, "DELETE", f"/me/sessions/{said_by(other)['sid']}", mine)
    assert ended.status_code == 204
    assert ask(client, "POST", "/logout", third).status_code == 204
    assert [status(client, token) for token in (mine, other, third)] == [200, 401, 401]
    assert listed(client, mine) == [said_by(mine)["sid"]]


def test_a_change_of_password_ends_all_but_the_one_that_asked_for_it(join: Join) -> None:
    app = join()
    client = app.test_client()
    mine, other = log_in(app), log_in(app)
    body = {"oldPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    assert ask(client, "PUT", "/me/password", mine, body).status_code == 204
    assert [status(client, token) for token in (mine, other)] == [200, 401]
    assert listed(client, mine) == [said_by(mine)["sid"]]


def test_a_token_is_honoured_for_as_long_as_its_session_whatever_key_signs_meanwhile(
    join: Join,
) -> None:
    app = join(JWT_ALGORITHM="EdDSA")
    token = log_in(app)
    kid, now = jwt.get_unverified_header(token)["kid"], int(time.time())
    with app.app_context():
        with connected(writes=True) as connection:
            connection.execute(update(SigningKeyRow).values(signs_from=now - DAY))
            connection.commit()
        # The next key has signed for nearly a day, longer than any other token lives.
        use_cases().keys.rotate(now - DAY + 600)
        use_cases().keys.rotate(now)
    again = join()
    assert status(again.test_client(), token) == 200
    with again.app_context():
        assert kid in {key["kid"] for key in use_cases().keys.public_keys()}
