"""Many sign-ups at one moment, through all dialects and all workers: one has the name."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from threading import Barrier

import pytest

from tests.e2e.frontends import (
    DIALECTS,
    FAST,
    SESSION,
    TOKEN,
    Frontend,
    bases_of,
    fresh,
    said,
)
from tests.infra.databases import migrated
from tests.support.client import Answer
from tests.support.mariadb import MariaDB
from tests.support.service import Service

CONTENDERS = 64
SPELLINGS = ("Straße{}", "STRASSE{}", "ｓｔｒａｓｓｅ{}", "  strasse{} ", "\u3000Strasse{}\t")
SEVERAL_WORKERS = {**FAST, "AUTHSVC_WORKERS": "3"}


@dataclass
class World:
    """A running service, and a look into its database."""

    service: Service
    count: Callable[[str], int]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("sqlite", id="sqlite"),
        pytest.param(
            "mariadb", id="mariadb", marks=[pytest.mark.mariadb, pytest.mark.redis_server]
        ),
    ],
)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A service of several workers: on SQLite and its own Redis, or on MariaDB and a Redis."""
    folder = tmp_path_factory.mktemp("races")
    if request.param == "sqlite":
        service = Service(folder, SEVERAL_WORKERS)
        service.prepare()
        file = service.data / "authsvc.sqlite3"
        with migrated(f"sqlite:///{file}"):
            pass

        def count(condition: str) -> int:
            with closing(sqlite3.connect(file)) as connection:
                query = f"SELECT count(*) FROM users WHERE {condition}"
                return int(connection.execute(query).fetchone()[0])

    else:
        mariadb: MariaDB = request.getfixturevalue("mariadb")
        redis = request.getfixturevalue("redis_server")
        redis.flush()
        url = mariadb.create_database("races")
        with migrated(url):
            pass
        service = Service(
            folder,
            {**SEVERAL_WORKERS, "AUTHSVC_DATABASE_URL": url, "AUTHSVC_REDIS_URL": redis.url},
        )

        def count(condition: str) -> int:
            query = f"SELECT count(*) FROM users WHERE {condition}"
            return int(mariadb.query(query, "races")[0][0])

    with service:
        yield World(service, count)


def race(runners: list[Callable[[], Answer]]) -> list[Answer]:
    """Let all run at one moment."""
    start = Barrier(len(runners))

    def run(runner: Callable[[], Answer]) -> Answer:
        start.wait(10)
        return runner()

    with ThreadPoolExecutor(len(runners)) as pool:
        return list(pool.map(run, runners, timeout=30))


def test_of_sixty_four_sign_ups_of_one_name_in_all_dialects_and_spellings_one_succeeds(
    world: World,
) -> None:
    number = fresh("")
    frontends = [
        Frontend(bases_of(world.service), DIALECTS[n % len(DIALECTS)], f"127.1.0.{n + 1}")
        for n in range(CONTENDERS)
    ]
    names = [SPELLINGS[n % len(SPELLINGS)].format(number) for n in range(CONTENDERS)]
    passwords = [f"Password{n}" for n in range(CONTENDERS)]
    captchas = [
        frontend.captcha_id() if frontend.dialect is SESSION else None for frontend in frontends
    ]

    def sign_up(n: int) -> Callable[[], Answer]:
        return lambda: frontends[n].sign_up(names[n], password=passwords[n], captcha_id=captchas[n])

    answers = race([sign_up(n) for n in range(CONTENDERS)])

    winners = [n for n, answer in enumerate(answers) if answer.status < 300]
    assert len(winners) == 1, Counter(answer.status for answer in answers)
    losers = [n for n in range(CONTENDERS) if n not in winners]
    for n in losers:
        assert said(answers[n]) == frontends[n].dialect.words["taken"]
    assert world.count(f"username_key = 'strasse{number}'") == 1
    [winner] = winners
    assert frontends[winner].log_in(names[0], passwords[winner]).status == 200
    assert frontends[losers[0]].log_in(names[0], passwords[losers[0]]).status == 401


def test_of_sixty_four_sign_ups_of_one_address_under_as_many_names_one_succeeds(
    world: World,
) -> None:
    mailbox = fresh("mailbox")
    spellings = (mailbox, mailbox.upper(), mailbox.title())
    stem = fresh("racer")

    def sign_up(n: int) -> Callable[[], Answer]:
        frontend = Frontend(bases_of(world.service), TOKEN, f"127.2.0.{n + 1}")
        email = f"{spellings[n % len(spellings)]}@Example.com"
        return lambda: frontend.sign_up(f"{stem}-{n}", email)

    answers = race([sign_up(n) for n in range(CONTENDERS)])

    taken = [answer for answer in answers if answer.status != 201]
    assert len(taken) == CONTENDERS - 1, Counter(answer.status for answer in answers)
    for answer in taken:
        assert said(answer) == TOKEN.words["taken"]
    assert world.count(f"email_key = '{mailbox}@example.com'") == 1
    assert world.count(f"username_key LIKE '{stem}-%'") == 1
