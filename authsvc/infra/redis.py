"""The connections to Redis, shared by everything that keeps something there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError
from redis.retry import Retry

from authsvc.core.errors import Unavailable


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Connections to Redis: a count, and times in seconds."""

    pool_size: int
    connect_timeout: float
    timeout: float


def connect(url: str, options: RedisOptions) -> "Redis":
    """Return a client; nothing is connected yet.

    A connection that Redis closed while it lay in the pool is replaced once,
    at once; a time-out is not tried again.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=options.pool_size,
        timeout=options.timeout,
        socket_connect_timeout=options.connect_timeout,
        socket_timeout=options.timeout,
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
    )
    return Redis(connection_pool=pool)


@contextmanager
def translated(fact: Callable[[], Unavailable]) -> Iterator[None]:
    """State a failure of Redis as a fact of the core."""
    try:
        yield
    except RedisError as error:
        raise fact() from error
