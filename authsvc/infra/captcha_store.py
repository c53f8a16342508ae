"""The live captchas, in Redis: a record each and, once drawn, its image.

All keys of a captcha share a slot of Redis Cluster with the count of those that are live there;
the index of a client's live captchas lies in a slot of its own.
"""

import zlib
from typing import cast

from authsvc.core.errors import CaptchasUnavailable, Overloaded, TooManyCaptchas
from authsvc.infra.redis import Call, RedisClient, translated

SHARDS = 16
"""Slots over which captchas are spread. Each has its own share of the most that may live."""

ROUNDED_TO = 10
"""Seconds: an unredeemed captcha counts among all live ones for so much longer, at the most."""

_NOW = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local function ends(left)
  return string.format('%.0f', math.ceil((now + left) / ARGV[1]) * ARGV[1])
end
local function seconds_until(moment)
  return math.max(1, math.ceil((moment - now) / 1000))
end
"""
# Whatever takes room comes first, so that a full Redis refuses it before anything is written.
_RESERVE = (
    _NOW
    + """
if redis.call('ZSCORE', KEYS[1], ARGV[2]) then
  return 0
end
local live = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf') >= tonumber(ARGV[4]) then
  return seconds_until(live[2])
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0
"""
)
_PUT = (
    _NOW
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local counts, live, first, over = redis.call('HGETALL', KEYS[2]), 0, nil, {}
for position = 1, #counts, 2 do
  local moment = tonumber(counts[position])
  if moment > now then
    live = live + counts[position + 1]
    first = math.min(first or moment, moment)
  else
    table.insert(over, counts[position])
  end
end
if live >= tonumber(ARGV[4]) then
  return seconds_until(first or now)
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('HINCRBY', KEYS[2], ends(ARGV[3]), 1)
redis.call('PEXPIRE', KEYS[2], ARGV[3] + ARGV[1])
if #over > 0 then
  redis.call('HDEL', KEYS[2], unpack(over))
end
return 0
"""
)
_TAKE = (
    _NOW
    + """
local record, left = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])
if not record then
  return false
end
redis.call('DEL', KEYS[1], KEYS[2])
if redis.call('HINCRBY', KEYS[3], ends(left), -1) <= 0 then
  redis.call('HDEL', KEYS[3], ends(left))
end
return record
"""
)
_KEEP_WHILE_LIVE = """
local left = redis.call('PTTL', KEYS[1])
if left > 0 then
  redis.call('SET', KEYS[2], ARGV[1], 'PX', left)
end
"""


class RedisCaptchaStore:
    """Meets `authsvc.core.ports.CaptchaStore`.

    Args:
        client: the way to Redis.
        most_live: captchas that may live at a time, whoever asked for them. They are spread at
            random, so that the first is refused a little earlier: 3 % of 100,000.
    """

    def __init__(self, client: RedisClient, most_live: int = 100_000) -> None:
        self._client = client
        self._share = -(-most_live // SHARDS)
        self._reserve = client.register_script(_RESERVE)
        self._put = client.register_script(_PUT)
        self._take = client.register_script(_TAKE)
        self._keep_while_live = client.register_script(_KEEP_WHILE_LIVE)

    def put(self, captcha_id: str, record: str, client: str, lifetime: int, most: int) -> None:
        """Keep what is known of a captcha, unless there are too many of them."""
        left, rounded = lifetime * 1000, ROUNDED_TO * 1000
        reserve = self._reserve.call([_client_key(client)], [rounded, captcha_id, left, most])
        keys = [_key(captcha_id), _count_key(captcha_id)]
        put = self._put.call(keys, [rounded, record, left, self._share])
        with translated(CaptchasUnavailable):
            of_client, of_all = self._client.run(reserve, put)
            if of_client and not of_all:
                self._client.later(self._taking(captcha_id))
            elif of_all and not of_client:
                self._client.later(_leaving(captcha_id, client))
        if of_client:
            raise TooManyCaptchas(of_client)
        if of_all:
            raise Overloaded(of_all)

    def look(self, captcha_id: str) -> tuple[str | None, bytes | None]:
        """Return the record, if the captcha is live, and its image, if one was kept."""
        key = _key(captcha_id)
        with translated(CaptchasUnavailable):
            found = self._client.one(Call(("MGET", key, _image_key(captcha_id)), key))
        record, image = cast(list[bytes | None], found)
        return _text(record), image

    def keep_image(self, captcha_id: str, image: bytes) -> None:
        """Keep the image for as long as the record still lives; drop it if it does not."""
        keys = [_key(captcha_id), _image_key(captcha_id)]
        with translated(CaptchasUnavailable):
            self._client.one(self._keep_while_live.call(keys, [image]))

    def take(self, captcha_id: str, client: str) -> str | None:
        """Return the record and forget the captcha, in one indivisible step."""
        with translated(CaptchasUnavailable):
            record, _ = self._client.run(self._taking(captcha_id), _leaving(captcha_id, client))
        return _text(record)

    def use(self, signature: str, lifetime: int) -> bool:
        """Mark a signature as used for `lifetime` seconds; tell whether it was not used before."""
        key = f"authsvc:pow:{signature}"
        with translated(CaptchasUnavailable):
            return bool(self._client.one(Call(("SET", key, 1, "EX", lifetime, "NX"), key)))

    def _taking(self, captcha_id: str) -> Call:
        keys = [_key(captcha_id), _image_key(captcha_id), _count_key(captcha_id)]
        return self._take.call(keys, [ROUNDED_TO * 1000])


def _leaving(captcha_id: str, client: str) -> Call:
    key = _client_key(client)
    return Call(("ZREM", key, captcha_id), key)


def _shard(captcha_id: str) -> int:
    return zlib.crc32(captcha_id.encode()) % SHARDS


def _key(captcha_id: str) -> str:
    return f"authsvc:captcha:{{{_shard(captcha_id)}}}:{captcha_id}"


def _image_key(captcha_id: str) -> str:
    return f"{_key(captcha_id)}:image"


def _count_key(captcha_id: str) -> str:
    return f"authsvc:captchas:{{{_shard(captcha_id)}}}"


def _client_key(client: str) -> str:
    return f"authsvc:captchas:{client}"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
