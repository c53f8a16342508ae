"""The counters of guesses, in Redis: a sorted set each, of tries by their time.

A counter keeps no more than it needs: the tries within the window or, once it
slows, as many as tell how long the wait is. Its state follows from its members
alone, so that a try which is removed has left no trace.
"""

import hashlib
import secrets
from typing import cast

from authsvc.core.errors import GuessesUnavailable, TooManyAttempts
from authsvc.core.guessing import KNOWN_FOR, GuessPolicy, Reservation
from authsvc.infra.redis import RedisClient, translated

# Unless the try is counted, nothing is written: a full Redis refuses only what begins to write
# with what takes room. Times are in milliseconds.
_RESERVE = """
local id = ARGV[1]
local window, first, longest = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- Taking one try back from the longest wait leaves the longest wait.
local spare = ARGV[5] + 1
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Sent again, for the connection was lost before the answer came.
if redis.call('ZSCORE', KEYS[1], id) then
  return {0, 0}
end

local counters = {
  {key = KEYS[1], limit = tonumber(ARGV[6])},
  {key = KEYS[2], limit = tonumber(ARGV[7])},
}
if redis.call('EXISTS', KEYS[4]) == 0 then
  counters[3] = {key = KEYS[3], limit = tonumber(ARGV[8])}
end

local function wait(counter)
  local over = redis.call('ZCARD', counter.key) - counter.limit
  return over < 0 and 0 or math.min(longest, first * 2 ^ over)
end

local left, free = 0, 0
for _, counter in ipairs(counters) do
  -- The clock was put back: what lies ahead of it counts as tried now.
  for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', counter.key, '(' .. now, '+inf')) do
    redis.call('ZADD', counter.key, now, ahead)
  end
  local due = wait(counter)
  if due > 0 then
    due = due + redis.call('ZREVRANGE', counter.key, 0, 0, 'WITHSCORES')[2]
    counter.slows = now < due + window
    if due - now > left then
      left, free = due - now, counter.limit
    end
  end
end
if left > 0 then
  return {math.ceil(left / 1000), free}
end

for _, counter in ipairs(counters) do
  redis.call('ZADD', counter.key, now, id)
  if counter.slows then
    redis.call('ZREMRANGEBYRANK', counter.key, 0, -1 - counter.limit - spare)
  else
    redis.call('ZREMRANGEBYSCORE', counter.key, '-inf', now - window)
  end
  redis.call('PEXPIRE', counter.key, math.ceil(wait(counter) + window))
end
return {0, 0}
"""
_SUCCEED = """
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('SET', KEYS[4], '', 'EX', ARGV[2])
"""
_EXCUSE = """
for counter = 1, 3 do
  redis.call('ZREM', KEYS[counter], ARGV[1])
end
"""


class RedisGuesses:
    """Meets `authsvc.core.guessing.GuessStore`.

    How a try ended travels with the next thing that the request does in Redis. If that fails,
    a line in the log says so: the try stays counted.
    """

    def __init__(self, client: RedisClient, policy: GuessPolicy) -> None:
        self._client = client
        self._policy = policy
        self._reserve = client.register_script(_RESERVE)
        self._succeed = client.register_script(_SUCCEED)
        self._excuse = client.register_script(_EXCUSE)

    def reserve(self, name: str, network: str) -> Reservation:
        """Count a try of a name from a network."""
        reservation = Reservation(secrets.token_urlsafe(9), name, network)
        policy = self._policy
        times = (policy.window, policy.first_wait, policy.longest_wait)
        milliseconds = (round(seconds * 1000) for seconds in times)
        limits = (policy.pair, policy.address, policy.name)
        arguments: list[str | int] = [reservation.id, *milliseconds, policy.doublings, *limits]
        with translated(GuessesUnavailable):
            reserved = self._client.one(self._reserve.call(_keys(reservation), arguments))
        wait, free = cast(list[int], reserved)
        if wait:
            raise TooManyAttempts(wait, free)
        return reservation

    def succeed(self, reservation: Reservation) -> None:
        """Take back a try, forget all others of its pair, and make the network known."""
        with translated(GuessesUnavailable):
            self._client.later(self._succeed.call(_keys(reservation), [reservation.id, KNOWN_FOR]))

    def excuse(self, reservation: Reservation) -> None:
        """Take back a try, as if it had never been counted."""
        with translated(GuessesUnavailable):
            self._client.later(self._excuse.call(_keys(reservation), [reservation.id]))


def _keys(reservation: Reservation) -> list[str]:
    """Return the pair's, the network's and the name's counter, and the mark of a known pair.

    The hash tag keeps them on one node of a cluster.
    """
    name, network = reservation.name, reservation.network
    pair = _digest(f"{network}\0{name}")
    kinds = (f"pair:{pair}", f"address:{network}", f"name:{_digest(name)}", f"known:{pair}")
    return [f"authsvc:{{guess}}:{kind}" for kind in kinds]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
