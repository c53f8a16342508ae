"""Redis of the kinds that only the tests of the stores need, each for the whole run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.conftest import require
from tests.support.binaries import REDIS
from tests.support.redis import RedisServer
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_sentinel import WatchedRedis


@pytest.fixture(scope="session")
def redis_cluster(server_folder: Path) -> Iterator[RedisCluster]:
    """The Redis Cluster of the whole run; flush() it where a test needs it empty."""
    require(REDIS)
    with RedisCluster(server_folder / "cluster") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def watched_redis(server_folder: Path) -> Iterator[WatchedRedis]:
    """The Redis with sentinels of the whole run; flush() it where a test needs it empty."""
    require(REDIS)
    with WatchedRedis(server_folder / "sentinel") as watched:
        yield watched


@pytest.fixture
def breakable_cluster(redis_cluster: RedisCluster) -> Iterator[RedisCluster]:
    """The cluster of the whole run, brought back after a test that kills or pauses a node."""
    yield redis_cluster
    redis_cluster.ensure_running()


@pytest.fixture
def breakable_watched_redis(watched_redis: WatchedRedis) -> Iterator[WatchedRedis]:
    """The watched Redis of the whole run, brought back after a test that kills or pauses it."""
    yield watched_redis
    watched_redis.ensure_running()


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """What a test does in the Redis of the whole run, emptied, behind the store's back."""
    redis_server.flush()
    with redis.Redis(port=redis_server.port) as server:
        yield server
