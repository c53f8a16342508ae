"""The live captchas, in Redis: a record each and, once drawn, its image."""

from typing import cast

from redis import Redis

from authsvc.core.errors import CaptchasUnavailable
from authsvc.infra.redis import translated

_RESERVE = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return math.max(1, math.ceil((first[2] - now) / 1000))
end
redis.call('ZADD', KEYS[1], now + ARGV[2] * 1000, ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 0
"""
_KEEP_WHILE_LIVE = """
local left = redis.call('PTTL', KEYS[1])
if left > 0 then
  redis.call('SET', KEYS[2], ARGV[1], 'PX', left)
end
"""


class RedisCaptchaStore:
    """Meets `authsvc.core.ports.CaptchaStore`."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._reserve = client.register_script(_RESERVE)
        self._keep_while_live = client.register_script(_KEEP_WHILE_LIVE)

    def reserve(self, captcha_id: str, client: str, lifetime: int, most: int) -> int:
        """Count a captcha among the client's live ones, of which there are `most` at the most."""
        with translated(CaptchasUnavailable):
            wait = self._reserve([_client_key(client)], [captcha_id, lifetime, most])
        return cast(int, wait)

    def put(self, captcha_id: str, record: str, lifetime: int) -> None:
        """Keep what is known of a captcha for `lifetime` seconds."""
        with translated(CaptchasUnavailable):
            self._client.set(_key(captcha_id), record, ex=lifetime)

    def look(self, captcha_id: str) -> tuple[str | None, bytes | None]:
        """Return the record, if the captcha is live, and its image, if one was kept."""
        with translated(CaptchasUnavailable):
            found = self._client.mget(_key(captcha_id), _image_key(captcha_id))
        record, image = cast(list[bytes | None], found)
        return _text(record), image

    def keep_image(self, captcha_id: str, image: bytes) -> None:
        """Keep the image for as long as the record still lives; drop it if it does not."""
        with translated(CaptchasUnavailable):
            self._keep_while_live([_key(captcha_id), _image_key(captcha_id)], [image])

    def take(self, captcha_id: str, client: str) -> str | None:
        """Return the record and forget the captcha, in one indivisible step."""
        with translated(CaptchasUnavailable), self._client.pipeline(transaction=False) as pipeline:
            pipeline.getdel(_key(captcha_id))
            pipeline.unlink(_image_key(captcha_id))
            pipeline.zrem(_client_key(client), captcha_id)
            record, _, _ = pipeline.execute()
        return _text(record)

    def use(self, signature: str, lifetime: int) -> bool:
        """Mark a signature as used for `lifetime` seconds; tell whether it was not used before."""
        with translated(CaptchasUnavailable):
            return bool(self._client.set(f"authsvc:pow:{signature}", 1, ex=lifetime, nx=True))


def _key(captcha_id: str) -> str:
    return f"authsvc:captcha:{{{captcha_id}}}"


def _image_key(captcha_id: str) -> str:
    return f"{_key(captcha_id)}:image"


def _client_key(client: str) -> str:
    return f"authsvc:captchas:{client}"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
