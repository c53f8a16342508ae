"""The counters of the rate limits: in Redis, or in memory while Redis does not answer."""

import logging
import time
from collections.abc import Sequence

from limits.storage import MemoryStorage
from redis.exceptions import RedisError

from authsvc.core.ports import Counted, Window
from authsvc.infra.redis import RedisClient

_log = logging.getLogger(__name__)

_COUNT = """
local counted = {}
for position, key in ipairs(KEYS) do
  local most, window = tonumber(ARGV[2 * position - 1]), tonumber(ARGV[2 * position])
  local count, left = redis.call('INCR', key), redis.call('PTTL', key)
  if left < 0 then
    redis.call('PEXPIRE', key, window)
    left = window
  end
  table.insert(counted, count)
  table.insert(counted, left)
  if count > most then
    break
  end
end
return counted
"""


class RedisRateCounters:
    """Meets `authsvc.core.ports.RateCounters`: one round trip for a request.

    While Redis does not answer, each process counts by itself, in memory.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._count = client.register_script(_COUNT)
        self._memory = MemoryStorage()

    def count(self, client: str, windows: Sequence[Window]) -> list[Counted]:
        """Count a request of a client in each window, up to the first that is full."""
        keys = [f"authsvc:limit:{{{client}}}:{window.name}" for window in windows]
        told = [part for window in windows for part in (window.most, window.seconds * 1000)]
        try:
            answer = self._client.one(self._count.call(keys, told), patient=False)
        except RedisError as error:
            _log.warning("a rate limit counts in memory: %s", error)
            return self._count_in_memory(client, windows)
        now = time.time()
        pairs = zip(answer[::2], answer[1::2], strict=True)
        return [Counted(count, now + left / 1000) for count, left in pairs]

    def _count_in_memory(self, client: str, windows: Sequence[Window]) -> list[Counted]:
        counted: list[Counted] = []
        for window in windows:
            key = f"{client} {window.name}"
            count = self._memory.incr(key, window.seconds)
            counted.append(Counted(count, self._memory.get_expiry(key)))
            if count > window.most:
                break
        return counted
