"""The kinds of Redis over which the stores' contracts are held: each test runs on every one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from authsvc.infra.redis import RedisClient, RedisOptions, connect

PATIENT = RedisOptions(pool_size=32, connect_timeout=1, timeout=2)

KINDS = {"redis": "redis_server", "cluster": "redis_cluster", "sentinel": "watched_redis"}
"""What a kind is called → the fixture that is one, with its `url` and `flush()`."""

FAKE = pytest.param("fake", id="fake")
REAL = [pytest.param(kind, id=kind, marks=pytest.mark.redis_server) for kind in KINDS]


def emptied(request: pytest.FixtureRequest, kind: str) -> Any:
    """Return the Redis of a kind that serves the whole run, emptied."""
    server = request.getfixturevalue(KINDS[kind])
    server.flush()
    return server


@contextmanager
def client_of(url: str, options: RedisOptions) -> Iterator[RedisClient]:
    """Lend a client, whose connections are closed in the end."""
    client = connect(url, options)
    try:
        yield client
    finally:
        client.close()
