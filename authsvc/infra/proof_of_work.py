"""Proof of work in the protocol of ALTCHA, version 1, with its own library."""

from datetime import UTC, datetime

from altcha.v1 import Payload, create_challenge, verify_solution

from authsvc.core.ports import Work


class AltchaWork:
    """Meets `authsvc.core.ports.ProofOfWork`.

    Args:
        key: signs the puzzles; secret.
        most: the largest number to be found; the client tries half of them on average.
    """

    def __init__(self, key: bytes, most: int) -> None:
        self._key = key
        self._most = most

    def challenge(self, captcha_id: str, purpose: str, expires_at: int) -> dict[str, object]:
        """Return a signed puzzle that is bound to an id, a purpose and an expiry."""
        puzzle = create_challenge(
            algorithm="SHA-256",
            max_number=self._most,
            salt_length=12,
            hmac_key=self._key,
            salt="",
            number=None,
            expires=datetime.fromtimestamp(expires_at, UTC),
            params={"id": captcha_id, "purpose": purpose},
        )
        return {
            "algorithm": puzzle.algorithm,
            "challenge": puzzle.challenge,
            "maxnumber": puzzle.max_number,
            "salt": puzzle.salt,
            "signature": puzzle.signature,
        }

    def check(self, payload: str, captcha_id: str, purpose: str, now: float) -> Work | None:
        """Return the work done, if the payload solves a puzzle of ours of this id and purpose."""
        try:
            solution = Payload.from_base64(payload)
            genuine, _ = verify_solution(solution, self._key, check_expires=False)
            _, expires_at, bound = solution.parse_salt()
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            return None
        if not genuine or bound.get("id") != [captcha_id] or bound.get("purpose") != [purpose]:
            return None
        left = int((expires_at or 0) - now)
        return Work(solution.signature, left) if left > 0 else None
