"""What happens and is worth counting; who counts, and how, is not the core's business."""

from typing import Protocol

CAPTCHA_EVENTS = ("issued", "seen", "heard", "solved", "failed", "expired")
SESSION_EVENTS = ("opened", "renewed", "replayed", "ended")


class Events(Protocol):
    """Takes note of events. Raises nothing, and is quick."""

    def captcha(self, event: str) -> None:
        """Count one of `CAPTCHA_EVENTS`. What is `expired` when it is redeemed has `failed` too."""

    def session(self, event: str) -> None:
        """Count one of `SESSION_EVENTS`. `ended`: at somebody's wish, one or all of a user's."""


class Uncounted:
    """Meets `Events` by taking no note."""

    def captcha(self, event: str) -> None:
        """Do nothing."""

    def session(self, event: str) -> None:
        """Do nothing."""
