"""What is measured: authsvc under gunicorn on MariaDB and Redis, as an operator would run it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authsvc.settings import NAMES
from tests.support.client import Client
from tests.support.mariadb import MariaDB
from tests.support.redis import RedisServer
from tests.support.service import Service

PASSWORD = "correct horse 42 Battery"

# One generator stands for thousands of clients, so its limits are theirs together: raised, but
# on, so that everything is counted as it is in production.
RAISED = 100_000_000


def raised_limits() -> dict[str, str]:
    """Returns every limit that counts clients, as high as it goes, and room in the hash queue."""
    rates = re.compile(r"AUTHSVC_RATELIMIT_(?!ENABLED)")
    counts = re.compile(r"AUTHSVC_(CAPTCHA_MAX|GUESS_(PAIR|ADDRESS|NAME)$)")
    raised = {
        name: f"{RAISED}/minute" if rates.match(name) else str(RAISED)
        for name in sorted(NAMES)
        if rates.match(name) or counts.match(name)
    }
    # All 128 clients may have their connection to the same worker.
    return raised | {"AUTHSVC_HASH_QUEUE": "128"}


CHEAP_HASH = {
    "AUTHSVC_ARGON2_MEMORY_KIB": "8",
    "AUTHSVC_ARGON2_TIME_COST": "1",
}
"""Hashes that cost next to nothing, where everything else is what is measured."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the benchmark, who is logged in."""

    name: str
    token: str


class BigMariaDB(MariaDB):
    """MariaDB with the memory that a machine of its own would give it."""

    start_seconds = 60.0

    def __init__(self, folder: Path, buffer_pool: str = "512M") -> None:
        super().__init__(folder)
        self._buffer_pool = buffer_pool

    def command(self) -> list[str]:
        return [
            *super().command(),
            f"--innodb-buffer-pool-size={self._buffer_pool}",
            "--innodb-log-file-size=256M",
            "--max-connections=400",
            "--local-infile=1",
        ]


class Stage:
    """MariaDB and Redis, and the services that are run on them.

    Args:
        folder: takes all data and logs.
        mariadb, redis: running.
    """

    def __init__(self, folder: Path, mariadb: MariaDB, redis: RedisServer) -> None:
        self.folder = folder
        self.mariadb = mariadb
        self.redis = redis

    def environment(self, database: str) -> dict[str, str]:
        """Returns the settings of a service in production, on a database of this name."""
        return {
            "AUTHSVC_ENV": "production",
            "AUTHSVC_DATABASE_URL": self.mariadb.url(database),
            "AUTHSVC_REDIS_URL": self.redis.url,
            "AUTHSVC_JWT_SECRET": "benchmark " * 4,
            "AUTHSVC_CORS_ORIGINS": "https://app.example.com",
            **raised_limits(),
        }

    def service(self, database: str, also: Mapping[str, str] | None = None) -> Service:
        """Returns a service that is not started yet."""
        return Service(self.folder / database, self.environment(database) | dict(also or {}))


@contextmanager
def built(folder: Path, buffer_pool: str = "512M") -> Iterator[Stage]:
    """Starts MariaDB and Redis, and stops them at the end."""
    with (
        BigMariaDB(folder / "mariadb", buffer_pool) as mariadb,
        RedisServer(folder / "redis") as redis,
    ):
        yield Stage(folder, mariadb, redis)


def sign_up(service: Service, count: int) -> list[Account]:
    """Signs users up through the document without a captcha, and logs each in."""
    client = Client(service.first)
    return [_sign_up_one(client, f"bench-{number}") for number in range(count)]


def _sign_up_one(client: Client, name: str) -> Account:
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    answer = client.post("/api/register", body)
    assert answer.status in (200, 201), answer.text
    login: Any = client.post("/v1/login", {"username": name, "password": PASSWORD})
    assert login.status == 200, login.text
    return Account(name, login.json()["accessToken"])
