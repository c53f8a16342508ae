"""How many connections a process uses, told about once a second: no request pays for it."""

import threading
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.pool import QueuePool

EVERY_SECONDS = 1.0


def database_connections(engine: Engine) -> int:
    """Return how many connections are lent out."""
    pool = engine.pool
    return pool.checkedout() if isinstance(pool, QueuePool) else 0


class PoolWatch:
    """A thread that counts connections in use.

    Args:
        database, redis: tell how many there are.
        tell: takes both numbers.
    """

    def __init__(
        self,
        database: Callable[[], int],
        redis: Callable[[], int],
        tell: Callable[[int, int], None],
    ) -> None:
        self._database = database
        self._redis = redis
        self._tell = tell
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; in the process that serves, for no thread outlives a fork."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._watch, name="pool watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _watch(self) -> None:
        while not self._stopping.wait(EVERY_SECONDS):
            self._tell(self._database(), self._redis())
