"""Captchas: issued, shown, and redeemed once."""

import hmac
import re
import secrets
from dataclasses import dataclass, field

from authsvc.core.errors import CaptchaRejected, InvalidCaptchaAnswer, UnknownCaptcha
from authsvc.core.ports import CaptchaPainter, CaptchaStore

ALPHABET = "3689ACEJKMPWX"
"""Symbols that people do not mistake for one another."""
LENGTHS = (5, 6, 7)
ANSWER_MAX_BYTES = 4096

_ID_BYTES = 16
_ID = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class CaptchaPolicy:
    """What an operator decides about captchas.

    Args:
        lifetime: seconds from issue until the captcha is forgotten.
        required: whether a sign-up that has a place for a captcha asks for one.
        test_value: an answer that every live captcha accepts, for smoke tests.
    """

    lifetime: int = 300
    required: bool = True
    test_value: str | None = field(default=None, repr=False)


class Captchas:
    """Issue a captcha, show its image, redeem its answer."""

    def __init__(
        self,
        store: CaptchaStore,
        painter: CaptchaPainter,
        drawing_key: bytes,
        policy: CaptchaPolicy,
    ) -> None:
        self._store = store
        self._painter = painter
        self._drawing_key = drawing_key
        self._policy = policy

    @property
    def required(self) -> bool:
        """Whether a sign-up that has a place for a captcha asks for one."""
        return self._policy.required

    def issue(self) -> str:
        """Make a captcha with a random answer.

        Returns:
            Its id, which cannot be guessed.

        Raises:
            CaptchasUnavailable
        """
        captcha_id = secrets.token_urlsafe(_ID_BYTES)
        answer = "".join(secrets.choice(ALPHABET) for _ in range(secrets.choice(LENGTHS)))
        self._store.put(captcha_id, answer, self._policy.lifetime)
        return captcha_id

    def image(self, captcha_id: str) -> bytes:
        """Return the PNG of a live captcha: the same one every time.

        Raises:
            UnknownCaptcha: no live captcha has this id.
            CaptchasUnavailable
        """
        answer, image = self._store.look(captcha_id) if _ID.fullmatch(captcha_id) else (None, None)
        if answer is None:
            raise UnknownCaptcha
        if image is None:
            image = self._painter.paint(answer, self._seed(captcha_id, answer))
            self._store.keep_image(captcha_id, image)
        return image

    def redeem(self, captcha_id: str, answer: str) -> None:
        """Accept the right answer once; any answer burns the captcha.

        Raises:
            InvalidCaptchaAnswer: empty or over 4,096 bytes; nothing is burnt.
            CaptchaRejected: wrong, or the captcha is unknown, expired or used.
            CaptchasUnavailable
        """
        given = answer.encode("utf-8", "surrogatepass")
        if not 1 <= len(given) <= ANSWER_MAX_BYTES:
            raise InvalidCaptchaAnswer
        expected = self._store.take(captcha_id) if _ID.fullmatch(captcha_id) else None
        if expected is None or not self._is_right(given, expected):
            raise CaptchaRejected

    def _is_right(self, given: bytes, expected: str) -> bool:
        drawn = hmac.compare_digest(given.strip().upper(), expected.encode())
        test_value = self._policy.test_value
        return drawn or (test_value is not None and hmac.compare_digest(given, test_value.encode()))

    def _seed(self, captcha_id: str, answer: str) -> bytes:
        return hmac.digest(self._drawing_key, f"{captcha_id}:{answer}".encode(), "sha256")
