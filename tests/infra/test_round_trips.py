"""How often each operation goes to Redis, counted where calls are sent, through the whole app."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from flask import Flask
from flask.testing import FlaskClient

from authsvc import settings
from authsvc.app import create_app
from authsvc.core.errors import UsersUnavailable
from authsvc.infra.database import db
from authsvc.infra.redis_node import Call, Connection, Node
from authsvc.infra.users import SqlUsers
from tests.infra.databases import migrated
from tests.support.redis import RedisServer

PASSWORD = "Correct-Horse-7"
TEST_VALUE = "t3st-value"


class Trips:
    """Counts how often anything is sent to Redis."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[list[str]] = []
        send = Node.send

        def counted(node: Node, calls: Sequence[Call]) -> Connection:
            self.sent.append([str(call.words[0]) for call in calls])
            return send(node, calls)

        monkeypatch.setattr(Node, "send", counted)

    def of(self, answer: Any, status: int = 200) -> int:
        """Return how many trips an answer took, and begin anew."""
        assert answer.status_code == status, answer.text
        trips, self.sent = len(self.sent), []
        return trips


@pytest.fixture
def app(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    redis_server.flush()
    url = f"sqlite:///{tmp_path / 'authsvc.sqlite3'}"
    for name, value in {
        "DATA": str(tmp_path),
        "DATABASE_URL": url,
        "REDIS_URL": redis_server.url,
        "ARGON2_MEMORY_KIB": "8",
        "ARGON2_TIME_COST": "1",
        "CAPTCHA_TEST_VALUE": TEST_VALUE,
    }.items():
        monkeypatch.setenv(f"AUTHSVC_{name}", value)
    with migrated(url):
        pass
    app = create_app(settings.load())
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the whole app, whose scripts Redis has seen."""
    client = app.test_client()
    for name in ("warm-up", "someone"):
        assert sign_up(client, name).status_code == 200
    token = log_in(client).json["session_token"]
    assert who_is(client, token).status_code == 200
    return client


@pytest.fixture
def trips(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> Trips:
    return Trips(monkeypatch)


def sign_up(client: FlaskClient, name: str) -> Any:
    captcha = client.get("/captcha").get_json()["captchaId"]
    client.get(f"/captcha/{captcha}")
    solved = {"captchaId": captcha, "value": TEST_VALUE}
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com", **solved}
    return client.post("/signup", json=body)


def log_in(client: FlaskClient, password: str = PASSWORD) -> Any:
    return client.post("/login", json={"username": "someone", "password": password})


def who_is(client: FlaskClient, token: str) -> Any:
    return client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})


def test_a_token_check_takes_one_trip(client: FlaskClient, trips: Trips) -> None:
    token = log_in(client).json["session_token"]
    trips.sent = []
    assert trips.of(who_is(client, token)) == 1


def test_a_log_in_takes_one_trip_for_its_limits_one_to_be_counted_and_one_for_its_session(
    client: FlaskClient, trips: Trips
) -> None:
    answer = log_in(client)
    assert trips.sent == [["EVALSHA"], ["EVALSHA"], ["EVALSHA", "EVALSHA"]]
    assert trips.of(answer) == 3
    assert answer.headers["X-RateLimit-Limit"] == "10"


def test_a_wrong_password_takes_no_trip_after_its_hash(client: FlaskClient, trips: Trips) -> None:
    assert trips.of(log_in(client, "wrong"), 401) == 2


def test_a_refused_log_in_takes_one_trip(client: FlaskClient, trips: Trips) -> None:
    statuses = [log_in(client, "wrong").status_code for _ in range(12)]
    assert statuses[-1] == 429
    trips.sent = []
    assert trips.of(log_in(client, "wrong"), 429) == 1


def test_a_captcha_takes_one_trip_for_its_limit_and_one_to_be_issued(
    client: FlaskClient, trips: Trips
) -> None:
    assert trips.of(client.get("/captcha")) == 2


def test_a_sign_up_takes_one_trip_to_redeem_its_captcha(client: FlaskClient, trips: Trips) -> None:
    captcha = client.get("/captcha").get_json()["captchaId"]
    trips.sent = []
    body = {"username": "x", "password": PASSWORD, "email": "x@example.com", "captchaId": captcha}
    answer = client.post("/signup", json={**body, "value": TEST_VALUE})
    assert trips.sent == [["EVALSHA"], ["EVALSHA", "ZREM"], ["EVALSHA"]]
    assert trips.of(answer) == 3


def test_redis_itself_sees_no_script_text_once_it_knows_the_scripts(
    client: FlaskClient, redis_server: RedisServer
) -> None:
    redis_server.ask("CONFIG RESETSTAT")
    assert log_in(client).status_code == 200
    with redis_py.Redis(port=redis_server.port) as server:
        info: Any = server.info("commandstats")
    assert info["cmdstat_evalsha"]["calls"] == 4
    assert "cmdstat_eval" not in info


def test_what_a_request_queued_is_sent_by_its_end(
    client: FlaskClient, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise UsersUnavailable

    assert log_in(client, "wrong").status_code == 401
    with redis_py.Redis(port=redis_server.port) as server:
        [pair] = server.keys("authsvc:{guess}:pair:*")
        assert server.zcard(pair) == 1
        monkeypatch.setattr(SqlUsers, "by_username_key", fail)
        assert log_in(client).status_code == 500
        assert server.zcard(pair) == 1
