"""Refresh tokens through the front door: races, replays, lost answers, kills and restarts."""

import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tests.e2e.frontends import ADMIN, FAST, PASSWORD, Frontend, bases_of, fresh, new_address
from tests.infra.databases import migrated
from tests.support.client import Answer, Client
from tests.support.mariadb import MariaDB
from tests.support.processes import wait_until
from tests.support.redis import RedisServer
from tests.support.service import Service

DATABASE = "refreshing"
AT_ONCE = 50
SETTINGS = {
    **FAST,
    "AUTHSVC_WORKERS": "3",
    "AUTHSVC_SIGNUP_CAPTCHA": "off",
    "AUTHSVC_RATELIMIT_ENABLED": "off",
    "AUTHSVC_GUESS_LIMIT": "off",
}
HASTY = {**SETTINGS, "AUTHSVC_REFRESH_GRACE": "1"}
GRACE = 1.0


@dataclass
class World:
    """A running service of several workers, and a look into its database."""

    service: Service
    query: Callable[[str], list[tuple[Any, ...]]]

    def join(self) -> "Person":
        """Sign somebody up."""
        client = Client(self.service.first, source=new_address())
        name = fresh("refresher")
        answer = client.post("/v1/signup", {"username": name, "password": "Xk9-longer-than-most"})
        assert answer.status == 201, answer.text
        body = answer.json()
        return Person(self, client, name, body["user"]["id"], body)


@dataclass
class Person:
    """Somebody who is logged in, and the tokens of that log-in."""

    world: World
    client: Client
    name: str
    id: int
    tokens: dict[str, Any] = field(repr=False)

    def refresh(self, token: str | None = None) -> Answer:
        """Use a refresh token; the newest known if none is given."""
        sent = token or self.tokens["refreshToken"]
        return self.client.post("/v1/token/refresh", {"refreshToken": sent})

    def renewed(self) -> dict[str, Any]:
        """Refresh, and go on with the new tokens."""
        answer = self.refresh()
        assert answer.status == 200, answer.text
        self.tokens = answer.json()
        return self.tokens

    def ask(self, path: str, token: str | None = None) -> Answer:
        """Read something with an access token."""
        sent = token or self.tokens["accessToken"]
        return self.client.get(path, headers={"Authorization": f"Bearer {sent}"})

    def create_user(self, token: str) -> Answer:
        """Ask the admin document for a user."""
        bases = bases_of(self.world.service)
        body = {"username": fresh("made"), "password": PASSWORD, "email": "a@b.example"}
        headers = {"Authorization": f"Bearer {token}"}
        return Frontend(bases, ADMIN).client.post("/api/auth/createUser", body, headers=headers)

    def sessions(self) -> list[dict[str, Any]]:
        """The live sessions, as they are listed."""
        answer = self.ask("/v1/me/sessions")
        assert answer.status == 200, answer.text
        listed: list[dict[str, Any]] = answer.json()["sessions"]
        return listed

    def incidents(self) -> list[tuple[Any, ...]]:
        """What the audit log holds of replayed tokens."""
        wanted = f"action = 'session.token_replayed' AND target_id = {self.id}"
        return self.world.query(f"SELECT actor_id, address FROM audit_log WHERE {wanted}")


BOTH = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("mariadb", id="mariadb", marks=[pytest.mark.mariadb, pytest.mark.redis_server]),
]


def build(request: pytest.FixtureRequest, folder: Path, settings: dict[str, str]) -> World:
    """A service that is not yet running, over the stores that the parameter names."""
    if request.param == "sqlite":
        service = Service(folder, settings)
        service.prepare()
        file = service.data / "authsvc.sqlite3"
        with migrated(f"sqlite:///{file}"):
            pass

        def ask_file(query: str) -> list[tuple[Any, ...]]:
            with closing(sqlite3.connect(file)) as connection:
                return connection.execute(query).fetchall()

        return World(service, ask_file)
    mariadb: MariaDB = request.getfixturevalue("mariadb")
    redis: RedisServer = request.getfixturevalue("redis_server")
    name = f"{DATABASE}_{fresh('')}"
    url = mariadb.create_database(name)
    with migrated(url):
        pass
    number = 1 + (settings is HASTY)  # users of two databases have the same ids
    stores = {
        "AUTHSVC_DATABASE_URL": url,
        "AUTHSVC_REDIS_URL": f"{redis.url.removesuffix('/0')}/{number}",
    }
    service = Service(folder, {**settings, **stores})
    return World(service, lambda query: [tuple(row) for row in mariadb.query(query, name)])


@pytest.fixture(scope="module", params=BOTH)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The service with the usual grace of 30 seconds."""
    world = build(request, tmp_path_factory.mktemp("refresh"), SETTINGS)
    with world.service:
        yield world


@pytest.fixture(scope="module", params=BOTH)
def hasty(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The service with a grace of one second."""
    world = build(request, tmp_path_factory.mktemp("hasty"), HASTY)
    with world.service:
        yield world


def all_at_once(person: Person, token: str) -> list[Answer]:
    """Fifty refreshes of one token at one moment."""
    start = Barrier(AT_ONCE)

    def run(_: int) -> Answer:
        start.wait(10)
        return person.refresh(token)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(run, range(AT_ONCE), timeout=60))


def told(what: str, answers: list[Answer], live: int) -> None:
    """Print what came of a race."""
    statuses = dict(Counter(answer.status for answer in answers))
    refresh_tokens = {answer.json().get("refreshToken") for answer in answers}
    access_tokens = {answer.json().get("accessToken") for answer in answers}
    print(
        f"\n{what}: answers by status {json.dumps(statuses)}, "
        f"distinct refresh tokens {len(refresh_tokens)}, "
        f"distinct access tokens {len(access_tokens)}, live sessions {live}"
    )


def assert_one_family(person: Person, answers: list[Answer]) -> None:
    """All were answered with the same successor, and every token that was given out is good."""
    assert Counter(answer.status for answer in answers) == {200: AT_ONCE}
    assert len({answer.json()["refreshToken"] for answer in answers}) == 1
    access_tokens = {answer.json()["accessToken"] for answer in answers}
    assert len(access_tokens) == AT_ONCE
    assert {person.ask("/v1/me", token).status for token in access_tokens} == {200}
    person.tokens = answers[0].json()
    assert [session["current"] for session in person.sessions()] == [True]


class TestRaces:
    def test_fifty_refreshes_of_one_token_at_one_moment_end_with_one_live_family(
        self, world: World
    ) -> None:
        person = world.join()
        answers = all_at_once(person, person.tokens["refreshToken"])
        told("fifty at once", answers, len(person.sessions()))
        assert_one_family(person, answers)
        assert person.refresh().status == 200
        assert person.incidents() == []

    def test_a_second_wave_with_the_token_that_the_first_gave_does_so_too(
        self, world: World
    ) -> None:
        person = world.join()
        first = all_at_once(person, person.tokens["refreshToken"])
        assert_one_family(person, first)
        second = all_at_once(person, person.tokens["refreshToken"])
        told("second wave", second, len(person.sessions()))
        assert_one_family(person, second)
        assert first[0].json()["refreshToken"] != second[0].json()["refreshToken"]
        late = person.refresh(first[0].json()["refreshToken"])
        assert late.json()["refreshToken"] == second[0].json()["refreshToken"]

    def test_of_a_log_out_and_refreshes_at_one_moment_nothing_stays_alive(
        self, world: World
    ) -> None:
        person = world.join()
        start = Barrier(21)

        def run(number: int) -> Answer:
            start.wait(10)
            if number:
                return person.refresh()
            headers = {"Authorization": f"Bearer {person.tokens['accessToken']}"}
            return person.client.post("/v1/logout", headers=headers)

        with ThreadPoolExecutor(21) as pool:
            ended, *answers = pool.map(run, range(21), timeout=30)
        assert ended.status == 204
        assert {answer.status for answer in answers} <= {200, 401}
        assert person.refresh().status == 401
        for answer in answers:
            if answer.status == 200:
                assert person.ask("/v1/me", answer.json()["accessToken"]).status == 401

    def test_of_many_log_outs_at_one_moment_none_fails(self, world: World) -> None:
        person = world.join()
        start = Barrier(16)
        headers = {"Authorization": f"Bearer {person.tokens['accessToken']}"}

        def run(_: int) -> Answer:
            start.wait(10)
            return person.client.post("/v1/logout", headers=headers)

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(run, range(16), timeout=30))
        statuses = Counter(answer.status for answer in answers)
        assert statuses.keys() <= {204, 401}, statuses
        assert statuses[204] >= 1


class TestReplays:
    def test_a_replay_after_the_window_ends_the_family_everywhere_and_is_an_incident(
        self, hasty: World
    ) -> None:
        person = hasty.join()
        first = person.tokens
        second = person.renewed()
        assert person.create_user(second["accessToken"]).status == 403
        time.sleep(GRACE + 0.3)
        assert person.incidents() == []
        late = person.refresh(first["refreshToken"])
        assert (late.status, late.json()["code"]) == (401, "invalid_refresh_token")
        for tokens in (first, second):
            assert person.ask("/v1/me", tokens["accessToken"]).status == 401
            assert person.create_user(tokens["accessToken"]).status == 401
            assert person.refresh(tokens["refreshToken"]).status == 401
        assert len(person.incidents()) == 1
        wanted = f"session {first['refreshToken'].split('.')[1][:8]} has ended"
        [line] = [line for line in hasty.service.log.read_text().splitlines() if wanted in line]
        assert "an old refresh token came back" in line
        assert "warning" in line.lower()
        for tokens in (first, second):
            assert tokens["refreshToken"] not in hasty.service.log.read_text()

    def test_a_replay_ends_no_other_family(self, hasty: World) -> None:
        person = hasty.join()
        body = {"username": person.name, "password": "Xk9-longer-than-most"}
        other = person.client.post("/v1/login", body).json()
        old = person.tokens["refreshToken"]
        person.renewed()
        time.sleep(GRACE + 0.3)
        assert person.refresh(old).status == 401
        assert person.ask("/v1/me", other["accessToken"]).status == 200
        assert person.refresh(other["refreshToken"]).status == 200

    def test_of_fifty_late_replays_at_one_moment_one_is_an_incident(self, hasty: World) -> None:
        person = hasty.join()
        old = person.tokens["refreshToken"]
        person.renewed()
        time.sleep(GRACE + 0.3)
        answers = all_at_once(person, old)
        assert Counter(answer.status for answer in answers) == {401: AT_ONCE}
        assert len(person.incidents()) == 1

    def test_a_lost_answer_is_had_again_and_the_family_goes_on(self, hasty: World) -> None:
        person = hasty.join()
        old = person.tokens["refreshToken"]
        lost, again = person.refresh(old), person.refresh(old)
        assert (lost.status, again.status) == (200, 200)
        assert lost.json()["refreshToken"] == again.json()["refreshToken"]
        time.sleep(GRACE + 0.3)
        person.tokens = again.json()
        assert person.ask("/v1/me").status == 200
        assert person.refresh().status == 200

    def test_the_window_is_counted_from_the_first_use_and_not_extended_by_replays(
        self, hasty: World
    ) -> None:
        person = hasty.join()
        began = time.monotonic()
        answers: list[tuple[float, int]] = []
        while time.monotonic() - began < GRACE * 1.8:
            status = person.refresh().status
            answers.append((time.monotonic() - began, status))
            if status != 200:
                break
            time.sleep(0.1)
        ended, status = answers[-1]
        assert status == 401
        assert len(answers) >= 3
        assert ended >= GRACE * 0.9
        assert len(person.incidents()) == 1


class TestFaults:
    def test_a_worker_that_is_killed_amid_refreshes_logs_nobody_out(self, world: World) -> None:
        people = [world.join() for _ in range(12)]
        over = time.monotonic() + 3

        def live(person: Person) -> int:
            """Refresh again and again, as a client does: after an error, with the same token."""
            done = 0
            while time.monotonic() < over or done == 0:
                try:
                    answer = person.refresh()
                except (OSError, HTTPException):
                    time.sleep(0.05)
                    continue
                if answer.status == 200:
                    person.tokens = answer.json()
                    done += 1
                else:
                    assert answer.status in (502, 503), answer.text
            return done

        with ThreadPoolExecutor(len(people)) as pool:
            lives = [pool.submit(live, person) for person in people]
            killed = 0
            while time.monotonic() < over - 0.5:
                workers = children(world.service.pid)
                if len(workers) >= 2:
                    os.kill(workers[killed % len(workers)], signal.SIGKILL)
                    killed += 1
                time.sleep(0.7)
            refreshed = sum(one.result(40) for one in lives)
        assert killed >= 2
        assert refreshed > len(people)
        for person in people:
            assert person.ask("/v1/me").status == 200
            assert person.refresh().status == 200
            assert person.incidents() == []


def children(pid: int) -> list[int]:
    """The workers of a gunicorn: those of its children that run Python."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(child) for child in path.read_text().split()]
    return [child for child in found if b"wsgi:app" in _command(child)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.redis_server
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_sessions_survive_a_restart_of_redis_that_keeps_its_append_only_file(
    tmp_path: Path, breakable_redis: RedisServer, how: str
) -> None:
    breakable_redis.flush()
    service = Service(tmp_path, {**HASTY, "AUTHSVC_REDIS_URL": breakable_redis.url})
    service.prepare()
    with migrated(f"sqlite:///{service.data / 'authsvc.sqlite3'}"):
        pass
    with service:
        person = World(service, lambda _: []).join()
        person.renewed()
        time.sleep(1.5)  # a killed Redis loses up to the last second
        getattr(breakable_redis, how)()
        assert person.ask("/v1/me").status == 503
        assert person.refresh().status == 503
        breakable_redis.start()
        assert wait_until(lambda: person.ask("/v1/me").status == 200, 5)
        assert len(person.sessions()) == 1
        person.renewed()
        assert person.ask("/v1/me").status == 200


def test_sessions_survive_a_restart_of_the_service_and_its_private_redis(tmp_path: Path) -> None:
    service = Service(tmp_path, HASTY)
    service.prepare()
    with migrated(f"sqlite:///{service.data / 'authsvc.sqlite3'}"):
        pass
    with service:
        person = World(service, lambda _: []).join()
        person.renewed()
        service.stop()
        service.start()
        assert wait_until(lambda: person.ask("/v1/me").status == 200, 5)
        person.renewed()
        assert len(person.sessions()) == 1
