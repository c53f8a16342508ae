"""Captchas: issued for a purpose, seen or heard, and redeemed once."""

import hmac
import re
import secrets
from dataclasses import dataclass, field

from authsvc.core.errors import (
    CaptchaExpired,
    CaptchaRejected,
    InvalidCaptchaAnswer,
    ProofOfWorkOff,
    UnknownCaptcha,
    UnknownLanguage,
)
from authsvc.core.events import Events, Uncounted
from authsvc.core.ports import (
    CaptchaPainter,
    CaptchaSpeaker,
    CaptchaStore,
    Clock,
    ProofOfWork,
)

ALPHABET = "3689ACEJKMPWX"
"""Symbols that people do not mistake for one another."""
DIGITS = "234679"
"""Digits that people do not mistake for one another: no 0, 1, 5 or 8."""
ALPHABETS = {"mixed": ALPHABET, "digits": DIGITS}
"""What an operator can choose between."""
LENGTHS = (5, 6, 7)
SPOKEN_LENGTH = 6
ANSWER_MAX_BYTES = 4096
SIGN_UP, LOG_IN = "signup", "login"
"""The purposes: what a captcha guards."""

_ID_BYTES = 16
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_WORK_PREFIX = "pow."
_WORK_ID = re.compile(r"pow\.[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class CaptchaPolicy:
    """What an operator decides about captchas.

    Args:
        lifetime: seconds from issue until the captcha is forgotten.
        alphabet: what pictures show; capital letters and digits.
        most_live: captchas that one client may hold at a time.
        required: whether a sign-up that has a place for a captcha asks for one.
        required_to_log_in: whether a log-in that has a place for a captcha asks for one, and
            with it a sign-up that shares the captcha of the log-in.
        test_value: an answer that every live captcha accepts, for smoke tests.
    """

    lifetime: int = 300
    alphabet: str = ALPHABET
    most_live: int = 1000
    required: bool = True
    required_to_log_in: bool = True
    test_value: str | None = field(default=None, repr=False)


class Captchas:
    """Issue a captcha, show or speak it, redeem its answer.

    Args:
        store: keeps the live captchas.
        painter: draws answers.
        speaker: speaks digits.
        proof_of_work: makes and checks puzzles; None where they are not taken.
        clock: the time of day.
        key: what pictures and recordings are derived from; secret.
        policy: what the operator decided.
        events: counts what happens.
    """

    def __init__(
        self,
        store: CaptchaStore,
        painter: CaptchaPainter,
        speaker: CaptchaSpeaker,
        proof_of_work: ProofOfWork | None,
        clock: Clock,
        key: bytes,
        policy: CaptchaPolicy,
        events: Events | None = None,
    ) -> None:
        self._store = store
        self._painter = painter
        self._speaker = speaker
        self._proof_of_work = proof_of_work
        self._clock = clock
        self._key = key
        self._policy = policy
        self._count = (events or Uncounted()).captcha

    def is_required(self, purpose: str) -> bool:
        """Tell whether an operation asks for the captcha of a purpose that it has a place for."""
        policy = self._policy
        return policy.required_to_log_in if purpose == LOG_IN else policy.required

    def issue(self, purpose: str, client: str, *others: str) -> str:
        """Make a captcha with a random answer, for one client.

        Args:
            purpose: what it is for.
            client: who asks for it.
            others: what it is for as well; it is redeemed once all the same.

        Returns:
            Its id, which cannot be guessed.

        Raises:
            TooManyCaptchas: the client holds as many as it may.
            Overloaded: all clients together do.
            CaptchasUnavailable
        """
        captcha_id, _ = self._issue((purpose, *others), client)
        return captcha_id

    def issue_with_image(self, purpose: str, client: str, *others: str) -> tuple[str, bytes]:
        """Do as `issue` does, and return the PNG too, which is not kept: it is seen here.

        Raises:
            TooManyCaptchas, CaptchasUnavailable
            Overloaded: as `issue`, or too many pictures are being drawn.
        """
        captcha_id, record = self._issue((purpose, *others), client)
        return captcha_id, self._paint(captcha_id, record)

    def image(self, captcha_id: str) -> bytes:
        """Return the PNG of a live captcha: the same one every time.

        Raises:
            UnknownCaptcha: no live captcha has this id.
            Overloaded: too many pictures are being drawn.
            CaptchasUnavailable
        """
        record, image = self._look(captcha_id)
        if image is None:
            image = self._paint(captcha_id, record)
            self._store.keep_image(captcha_id, image)
        return image

    def audio(self, captcha_id: str, language: str) -> bytes:
        """Return the WAV of a live captcha's digits: the same one every time.

        Raises:
            UnknownLanguage: no digits are spoken in it.
            UnknownCaptcha: no live captcha has this id.
            CaptchasUnavailable
        """
        if language not in self._speaker.languages:
            raise UnknownLanguage
        record, _ = self._look(captcha_id)
        seed = self._derive(f"audio {language}", captcha_id, record)
        self._count("heard")
        return self._speaker.speak(self._digits(captcha_id, record), seed, language)

    def work(self, purpose: str) -> dict[str, object]:
        """Return a puzzle for clients that can neither see nor hear, and its captcha's id.

        Nothing is stored until it is solved.

        Raises:
            ProofOfWorkOff
        """
        if self._proof_of_work is None:
            raise ProofOfWorkOff
        captcha_id = _WORK_PREFIX + secrets.token_urlsafe(_ID_BYTES)
        expires_at = int(self._clock()) + self._policy.lifetime
        self._count("issued")
        puzzle = self._proof_of_work.challenge(captcha_id, purpose, expires_at)
        return {"captchaId": captcha_id, **puzzle}

    def redeem(self, captcha_id: str, answer: str, purpose: str, client: str) -> None:
        """Accept the right answer once, for a purpose of issue; any answer burns the captcha.

        The answer is what the picture shows, what the recording says, or the
        payload that solves the puzzle of this id.

        Raises:
            InvalidCaptchaAnswer: empty or over 4,096 bytes; nothing is burnt.
            CaptchaExpired: the captcha is unknown, expired or used, or for another purpose.
            CaptchaRejected: the answer is wrong; a proof of work also if its time is over.
            CaptchasUnavailable
        """
        given = answer.encode("utf-8", "surrogatepass")
        if not 1 <= len(given) <= ANSWER_MAX_BYTES:
            raise InvalidCaptchaAnswer
        try:
            if _WORK_ID.fullmatch(captcha_id):
                self._redeem_work(captcha_id, answer, purpose)
            else:
                self._redeem_answer(captcha_id, given, purpose, client)
        except CaptchaRejected:
            self._count("failed")
            raise
        self._count("solved")

    def _issue(self, purposes: tuple[str, ...], client: str) -> tuple[str, str]:
        captcha_id, policy = secrets.token_urlsafe(_ID_BYTES), self._policy
        length = secrets.choice(LENGTHS)
        answer = "".join(secrets.choice(policy.alphabet) for _ in range(length))
        record = f"{','.join(purposes)}:{answer}"
        self._store.put(captcha_id, record, client, policy.lifetime, policy.most_live)
        self._count("issued")
        return captcha_id, record

    def _paint(self, captcha_id: str, record: str) -> bytes:
        _, _, answer = record.partition(":")
        image = self._painter.paint(answer, self._derive("image", captcha_id, record))
        self._count("seen")
        return image

    def _redeem_answer(self, captcha_id: str, given: bytes, purpose: str, client: str) -> None:
        record = self._store.take(captcha_id, client) if _ID.fullmatch(captcha_id) else None
        if record is None:
            self._count("expired")
            raise CaptchaExpired
        issued_for, _, answer = record.partition(":")
        if purpose not in issued_for.split(","):
            raise CaptchaExpired
        spoken = self._digits(captcha_id, record)
        right = _same(given.strip().upper(), answer) | _same(given.strip(), spoken)
        if self._policy.test_value is not None:
            right |= _same(given, self._policy.test_value)
        if not right:
            raise CaptchaRejected

    def _redeem_work(self, captcha_id: str, payload: str, purpose: str) -> None:
        if self._proof_of_work is None:
            raise CaptchaExpired
        work = self._proof_of_work.check(payload, captcha_id, purpose, self._clock())
        if work is None:
            raise CaptchaRejected
        if not self._store.use(work.signature, work.left):
            raise CaptchaExpired

    def _look(self, captcha_id: str) -> tuple[str, bytes | None]:
        record, image = self._store.look(captcha_id) if _ID.fullmatch(captcha_id) else (None, None)
        if record is None:
            raise UnknownCaptcha
        return record, image

    def _digits(self, captcha_id: str, record: str) -> str:
        number = int.from_bytes(self._derive("digits", captcha_id, record))
        return f"{number % 10**SPOKEN_LENGTH:0{SPOKEN_LENGTH}}"

    def _derive(self, what: str, captcha_id: str, record: str) -> bytes:
        return hmac.digest(self._key, f"{what}:{captcha_id}:{record}".encode(), "sha256")


def _same(given: bytes, expected: str) -> bool:
    return hmac.compare_digest(given, expected.encode())
