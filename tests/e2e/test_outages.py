"""Redis or the database is killed or frozen: what is said, how soon, and what is left behind."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.frontends import (
    ADMIN,
    DIALECTS,
    ENVELOPE,
    FAST,
    PASSWORD,
    SESSION,
    TOKEN,
    Dialect,
    Frontend,
    Words,
    bases_of,
    fresh,
    new_address,
    said,
    token_in,
)
from tests.infra.databases import add_administrator, migrated
from tests.support.client import Answer
from tests.support.mariadb import MariaDB
from tests.support.processes import wait_until
from tests.support.redis import RedisServer
from tests.support.service import Service

DATABASE = "outages"
LONGEST = 10.0
BACK_WITHIN = 5.0
SOME_CAPTCHA = "A" * 22
NO_IMAGE: Words = (500, {"error": "Failed to generate captcha image"})
NO_CHECK: Words = (500, {"message": "服务器错误"})


@dataclass
class World:
    """A running service, the servers that it stands on, and an administrator."""

    service: Service
    redis: RedisServer
    mariadb: MariaDB
    token: str = ""

    def frontend(self, dialect: Dialect) -> Frontend:
        return Frontend(bases_of(self.service), dialect, new_address())

    def frontends(self) -> list[Frontend]:
        return [self.frontend(dialect) for dialect in DIALECTS]

    def create_user(self, name: str) -> Answer:
        """Have the administrator make a user."""
        return self.frontend(ADMIN).client.post(
            "/api/auth/createUser",
            {"username": name, "password": PASSWORD, "email": f"{name}@example.com"},
            headers={"Authorization": f"Bearer {self.token}"},
        )

    def captcha(self, path: str = "") -> Answer:
        return self.frontend(SESSION).client.get(f"/captcha{path}")

    def stored(self, name: str) -> bool:
        """Tell whether a user of this name is on disk."""
        query = f"SELECT count(*) FROM users WHERE username_key = '{name}'"
        return bool(self.mariadb.query(query, DATABASE)[0][0])

    def works(self) -> bool:
        """Tell whether somebody can sign up and log in."""
        frontend, name = self.frontend(TOKEN), fresh()
        return frontend.sign_up(name).status == 201 and frontend.log_in(name).status == 200

    def admits_administrator(self) -> bool:
        """Log the administrator in; tell whether the worker that was asked is back, too."""
        answer = self.frontend(ADMIN).log_in("root")
        self.token = token_in(answer) if answer.status == 200 else ""
        return bool(self.token)


@pytest.fixture(scope="module")
def running(
    mariadb: MariaDB, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The service on MariaDB and Redis, every time-out as nobody has set it."""
    url = mariadb.create_database(DATABASE)
    with migrated(url):
        add_administrator("root", PASSWORD)
    redis_server.flush()
    settings = {**FAST, "AUTHSVC_DATABASE_URL": url, "AUTHSVC_REDIS_URL": redis_server.url}
    service = Service(tmp_path_factory.mktemp("outages"), settings)
    with service:
        yield World(service, redis_server, mariadb)


@pytest.fixture
def world(running: World, breakable_redis: RedisServer, breakable_mariadb: MariaDB) -> World:
    """The service, warmed up, with an administrator logged in."""
    assert wait_until(running.works, BACK_WITHIN)
    assert wait_until(running.admits_administrator, BACK_WITHIN)
    return running


def all_at_once(
    requests: dict[str, Callable[[], Answer]],
) -> tuple[dict[str, Words], dict[str, float]]:
    """Send requests at one moment; return what each was answered, and after how long."""

    def timed(request: Callable[[], Answer]) -> tuple[Words, float]:
        began = time.monotonic()
        answer = request()
        return said(answer), time.monotonic() - began

    with ThreadPoolExecutor(len(requests)) as pool:
        answers = dict(zip(requests, pool.map(timed, requests.values()), strict=True))
    return (
        {name: words for name, (words, _) in answers.items()},
        {name: took for name, (_, took) in answers.items()},
    )


@dataclass
class Requests:
    """Every operation of every dialect, each under a new name, and what an outage makes of it."""

    world: World

    def __post_init__(self) -> None:
        self.name = fresh("known")
        assert self.world.frontend(TOKEN).sign_up(self.name).status == 201
        self.captchas = {SESSION: self.world.frontend(SESSION).captcha_id()}
        self.names = {dialect: fresh(f"new-{dialect.name}-") for dialect in DIALECTS}
        self.created = fresh("created")

    def all(self) -> dict[str, Callable[[], Answer]]:
        requests: dict[str, Callable[[], Answer]] = {
            "captcha": self.world.captcha,
            "image": lambda: self.world.captcha(f"/{SOME_CAPTCHA}"),
            "create user": lambda: self.world.create_user(self.created),
        }
        for frontend in self.world.frontends():
            requests[f"{frontend.dialect.name} log-in"] = self.log_in_by(frontend)
            requests[f"{frontend.dialect.name} sign-up"] = self.sign_up_by(frontend)
        return requests

    def log_in_by(self, frontend: Frontend) -> Callable[[], Answer]:
        return lambda: frontend.log_in(self.name)

    def sign_up_by(self, frontend: Frontend) -> Callable[[], Answer]:
        dialect = frontend.dialect
        return lambda: frontend.sign_up(self.names[dialect], captcha_id=self.captchas.get(dialect))

    def assert_words_without_redis(self, answers: dict[str, Words]) -> None:
        """No session can be recorded, no token checked, no captcha kept; the rest works."""
        assert answers["captcha"] == NO_IMAGE
        assert answers["image"] == NO_IMAGE
        assert answers["create user"] == NO_CHECK
        for dialect in DIALECTS:
            assert answers[f"{dialect.name} log-in"] == dialect.words["log-in failed"]
            expected = dialect.words["sign-up opened no session"]
            assert answers[f"{dialect.name} sign-up"] == expected

    def assert_words_without_database(self, answers: dict[str, Words]) -> None:
        """Nobody is found and nobody stored; captchas work."""
        status, body = answers["captcha"]
        assert (status, list(body)) == (200, ["captchaId"])
        assert answers["create user"] == NO_CHECK
        for dialect in DIALECTS:
            assert answers[f"{dialect.name} log-in"] == dialect.words["log-in failed"]
            assert answers[f"{dialect.name} sign-up"] == dialect.words["sign-up failed"]

    def assert_only_users_answered_as_stored_are(self, answers: dict[str, Words]) -> None:
        for dialect in DIALECTS:
            status, _ = answers[f"{dialect.name} sign-up"]
            assert self.world.stored(self.names[dialect]) == (status < 300)
        assert not self.world.stored(self.created)


def test_a_frozen_redis_is_said_to_be_in_every_dialects_words_within_ten_seconds(
    world: World,
) -> None:
    requests = Requests(world)
    world.redis.pause()
    answers, took = all_at_once(requests.all())
    world.redis.resume()
    requests.assert_words_without_redis(answers)
    assert max(took.values()) < LONGEST, took
    requests.assert_only_users_answered_as_stored_are(answers)
    assert wait_until(world.works, BACK_WITHIN)


def test_without_redis_every_dialect_says_so_in_its_words_and_leaves_no_user_behind(
    world: World,
) -> None:
    requests = Requests(world)
    world.redis.kill()
    answers, took = all_at_once(requests.all())
    requests.assert_words_without_redis(answers)
    assert max(took.values()) < 2
    requests.assert_only_users_answered_as_stored_are(answers)

    world.redis.start()
    assert wait_until(world.works, BACK_WITHIN)
    answers, _ = all_at_once(
        {dialect.name: requests.sign_up_by(world.frontend(dialect)) for dialect in (TOKEN, ADMIN)}
    )
    assert {status for status, _ in answers.values()} == {201}


def test_without_redis_a_token_is_not_called_invalid(world: World) -> None:
    world.redis.kill()
    assert said(world.create_user(fresh())) == NO_CHECK
    world.redis.start()
    assert wait_until(lambda: world.create_user(fresh()).status == 201, BACK_WITHIN)


def test_without_redis_an_envelope_registers_and_can_log_in_later(world: World) -> None:
    name = fresh()
    world.redis.kill()
    assert world.frontend(ENVELOPE).sign_up(name).status == 200
    assert said(world.frontend(ENVELOPE).sign_up(name)) == ENVELOPE.words["taken"]
    world.redis.start()
    frontend = world.frontend(ENVELOPE)
    assert wait_until(lambda: frontend.log_in(name).status == 200, BACK_WITHIN)


def test_without_the_database_every_dialect_says_so_in_its_words(world: World) -> None:
    requests = Requests(world)
    world.mariadb.kill()
    answers, took = all_at_once(requests.all())
    requests.assert_words_without_database(answers)
    assert max(took.values()) < 2
    world.mariadb.start()
    requests.assert_only_users_answered_as_stored_are(answers)
    assert wait_until(world.works, BACK_WITHIN)


def test_a_frozen_database_is_said_to_be_in_every_dialects_words_within_ten_seconds(
    world: World,
) -> None:
    requests = Requests(world)
    world.mariadb.pause()
    answers, took = all_at_once(requests.all())
    world.mariadb.resume()
    requests.assert_words_without_database(answers)
    assert max(took.values()) < LONGEST, took
    requests.assert_only_users_answered_as_stored_are(answers)
    assert wait_until(world.works, BACK_WITHIN)


def test_an_outage_is_logged_with_its_cause_and_the_request_but_no_secret(world: World) -> None:
    world.mariadb.kill()
    answer = world.frontend(TOKEN).log_in("somebody")
    world.mariadb.start()
    request_id = answer.headers["X-Request-ID"]
    lines = [line for line in world.service.log_text().splitlines() if request_id in line]
    [line, access] = lines
    assert "UsersUnavailable" in line
    assert "POST /api/login" in line
    assert "outcome=users_unavailable" in access
    assert PASSWORD not in world.service.log_text()


def test_on_sqlite_sign_ups_that_wait_for_a_frozen_redis_hold_up_no_register(
    breakable_redis: RedisServer, tmp_path: Path
) -> None:
    service = Service(tmp_path, {**FAST, "AUTHSVC_REDIS_URL": breakable_redis.url})
    service.migrate()
    with service:
        waiting = [Frontend(bases_of(service), TOKEN, new_address()) for _ in range(12)]
        registering = [Frontend(bases_of(service), ENVELOPE, new_address()) for _ in range(4)]
        breakable_redis.pause()
        with ThreadPoolExecutor(16) as pool:
            refused = [pool.submit(frontend.sign_up, fresh()) for frontend in waiting]
            registered = [pool.submit(frontend.sign_up, fresh()) for frontend in registering]
            assert {answer.result().status for answer in refused} == {500}
            assert {answer.result().status for answer in registered} == {200}
        breakable_redis.resume()
