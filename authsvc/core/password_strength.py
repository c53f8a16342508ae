"""What a password would be worth, before it is set."""

from dataclasses import dataclass

from authsvc.core.errors import InvalidPassword, WeakPassword
from authsvc.core.passwords import PasswordRule
from authsvc.core.ports import StrengthMeter


@dataclass(frozen=True, slots=True)
class Strength:
    """How good a password is.

    Args:
        score: 0 (guessed at once) to 4 (very hard to guess).
        accepted: whether it could be set.
        reason: why it could not: `too_short`, `too_long`, `username`, `email` or `common`.
    """

    score: int
    accepted: bool
    reason: str | None


class Passwords:
    """Tell how good passwords are. Nothing is stored or counted.

    Args:
        rule: what a password may be.
        meter: how hard passwords are to guess.
    """

    def __init__(self, rule: PasswordRule, meter: StrengthMeter) -> None:
        self._rule = rule
        self._meter = meter

    def strength(
        self, password: str, username: str | None = None, email: str | None = None
    ) -> Strength:
        """Return how good a password is for a user of this name and address, where known."""
        hints = [hint for hint in (username, email) if hint is not None]
        reason = self._fault(password, username, email)
        return Strength(self._meter.score(password, hints), reason is None, reason)

    def _fault(self, password: str, username: str | None, email: str | None) -> str | None:
        try:
            self._rule.check_strict(password, username, email)
        except WeakPassword as weakness:
            return weakness.reason
        except InvalidPassword as fault:
            return "too_short" if len(password) < fault.min_length else "too_long"
        return None
