"""The live captchas, in Redis: the answer and, once drawn, its image."""

from typing import cast

from redis import Redis

from authsvc.core.errors import CaptchasUnavailable
from authsvc.infra.redis import translated

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
        self._keep_while_live = client.register_script(_KEEP_WHILE_LIVE)

    def put(self, captcha_id: str, answer: str, lifetime: int) -> None:
        """Keep an answer for `lifetime` seconds."""
        with translated(CaptchasUnavailable):
            self._client.set(_answer_key(captcha_id), answer, ex=lifetime)

    def look(self, captcha_id: str) -> tuple[str | None, bytes | None]:
        """Return the answer, if the captcha is live, and its image, if one was kept."""
        with translated(CaptchasUnavailable):
            found = self._client.mget(_answer_key(captcha_id), _image_key(captcha_id))
        answer, image = cast(list[bytes | None], found)
        return _text(answer), image

    def keep_image(self, captcha_id: str, image: bytes) -> None:
        """Keep the image for as long as the answer still lives; drop it if it does not."""
        with translated(CaptchasUnavailable):
            self._keep_while_live([_answer_key(captcha_id), _image_key(captcha_id)], [image])

    def take(self, captcha_id: str) -> str | None:
        """Return the answer and forget the captcha, in one indivisible step."""
        with translated(CaptchasUnavailable), self._client.pipeline(transaction=True) as pipeline:
            pipeline.getdel(_answer_key(captcha_id))
            pipeline.unlink(_image_key(captcha_id))
            answer, _ = pipeline.execute()
        return _text(answer)


def _answer_key(captcha_id: str) -> str:
    return f"authsvc:captcha:{{{captcha_id}}}"


def _image_key(captcha_id: str) -> str:
    return f"{_answer_key(captcha_id)}:image"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
