"""Redis at its `maxmemory`, while captchas flood it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from authsvc.core.errors import CaptchasUnavailable, Overloaded, SessionsUnavailable
from authsvc.core.ports import Session, Use, Window
from authsvc.infra.captcha_store import RedisCaptchaStore
from authsvc.infra.rate_counters import RedisRateCounters
from authsvc.infra.redis import RedisClient, RedisOptions, connect
from authsvc.infra.sessions import RedisSessions
from tests.support.redis import RedisServer

pytestmark = pytest.mark.redis_server

ROOM = 1_500_000
"""Bytes beyond what an empty Redis holds."""
FLOOD = 12_000
SESSIONS = 300
DAY = 86_400


@pytest.fixture(scope="module")
def own_redis(server_folder: Path, redis_server: RedisServer) -> Iterator[RedisServer]:
    """A Redis of which only these tests know, for they fill it."""
    with RedisServer(server_folder / "full") as server:
        yield server


@pytest.fixture
def limited(own_redis: RedisServer) -> Iterator[Callable[[str], Any]]:
    """Empty it, and give it little room and a policy."""
    with redis_py.Redis(port=own_redis.port) as server:
        server.config_set("maxmemory", 0)
        server.flushall()

        def limit(policy: str) -> Any:
            used: Any = server.info("memory")
            server.config_set("maxmemory-policy", policy)
            server.config_set("maxmemory", used["used_memory"] + ROOM)
            return server

        yield limit
        server.config_set("maxmemory", 0)


@pytest.fixture
def client(own_redis: RedisServer) -> Iterator[RedisClient]:
    client = connect(own_redis.url, RedisOptions(pool_size=4, connect_timeout=1, timeout=2))
    yield client
    client.close()


def session(number: int) -> Session:
    return Session(f"session-{number}", number, 0, 0, 0, "192.0.2.1", "a test")


def put(captchas: RedisCaptchaStore, number: int) -> None:
    address = f"198.51.{number // 250}.{number % 250}"
    captchas.put(f"{number:022}", "signup:ABCDE", address, 300, 1000)


def flood_until_refused(captchas: RedisCaptchaStore) -> int:
    """Put captchas until Redis has no room; return how many it took."""
    for number in range(1, FLOOD):
        try:
            put(captchas, number)
        except CaptchasUnavailable:
            return number
    raise AssertionError("there is room for all")


def test_without_eviction_a_full_redis_refuses_and_recovers_when_captchas_end(
    limited: Callable[[str], Any], client: RedisClient
) -> None:
    server = limited("noeviction")
    sessions, captchas = RedisSessions(client), RedisCaptchaStore(client, 10 * FLOOD)
    sessions.open(session(1), DAY, DAY)
    sessions.open(session(3), 60, DAY, sliding=True)
    put(captchas, 0)
    kept = flood_until_refused(captchas)
    keys = server.dbsize()
    for number in range(kept, kept + 500):
        with pytest.raises(CaptchasUnavailable):
            put(captchas, number)
    assert server.dbsize() == keys
    with pytest.raises(SessionsUnavailable):
        sessions.open(session(2), DAY, DAY)
    assert sessions.touch(1, "session-1") == Use(0)
    server.pexpire("authsvc:session:{3}:session-3", 30_000)
    assert sessions.touch(3, "session-3") is not None
    assert server.pttl("authsvc:session:{3}:session-3") > 30_000
    assert captchas.look(f"{0:022}") == ("signup:ABCDE", None)
    window = Window("rate", 9, 60)
    counters = RedisRateCounters(client)
    assert [counters.count("192.0.2.1", [window])[0].count for _ in range(3)] == [1, 2, 3]
    assert captchas.take(f"{0:022}", "198.51.0.0") == "signup:ABCDE"
    for key in server.scan_iter("authsvc:captcha*", count=1000):
        server.pexpireat(key, 1)
    sessions.open(session(2), DAY, DAY)
    put(captchas, FLOOD)


def test_with_volatile_ttl_sessions_outlive_a_flood_of_captchas(
    limited: Callable[[str], Any], client: RedisClient
) -> None:
    server = limited("volatile-ttl")
    sessions, captchas = RedisSessions(client), RedisCaptchaStore(client, 10 * FLOOD)
    for number in range(1, SESSIONS + 1):
        sessions.open(session(number), 1800, 7200, sliding=number % 2 == 0)
    for number in range(FLOOD):
        put(captchas, number)
    evicted: Any = server.info("stats")
    assert evicted["evicted_keys"] > FLOOD / 2
    numbers = range(1, SESSIONS + 1)
    assert [n for n in numbers if sessions.touch(n, f"session-{n}") is None] == []
    sessions.open(session(SESSIONS + 1), 7200, 7200)
    assert captchas.look(f"{FLOOD - 1:022}")[0] == "signup:ABCDE"


def test_a_flood_of_captchas_ends_at_the_most_that_may_live(
    limited: Callable[[str], Any], client: RedisClient
) -> None:
    server = limited("noeviction")
    captchas = RedisCaptchaStore(client, 1600)
    refused = 0
    for number in range(5000):
        try:
            put(captchas, number)
        except Overloaded:
            refused += 1
    kept = len(list(server.scan_iter("authsvc:captcha:*", count=1000)))
    assert kept == 5000 - refused
    assert 0.9 * 1600 <= kept <= 1600
