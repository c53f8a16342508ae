"""Mails that prove who reads them: their tokens, and how often there may be one."""

from dataclasses import dataclass, field
from typing import Protocol

from authsvc.core.ports import MailToken

PAUSE = 45
"""Seconds between two tokens for one address; shorter than a crashed sender's lease."""
MOST_PER_HOUR = 5
"""Tokens of one purpose that a user is sent within an hour."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A letter, as it is to be sent now.

    Args:
        kind: one of the words of `authsvc.core.letters`.
        address: where to.
        language: `en` or `zh`.
        username: whose it is; None where the reader may be a stranger, to whom nobody
            shall send words through a name of their choice.
        token: the secret of the link; None for a mail without one.
        minutes: how long the link is good.
    """

    kind: str
    address: str
    language: str
    username: str | None = None
    token: str | None = field(default=None, repr=False)
    minutes: int = 0


class MailTokenStore(Protocol):
    """The live tokens of mails, by their hashes. Every method can raise `UsersUnavailable`."""

    def keep(self, token_hash: str, token: MailToken, made_at: int, lifetime: int) -> bool:
        """Keep a token in place of the user's earlier ones of the purpose, if that is not too soon.

        Args:
            token_hash: what it is looked up by.
            token: what it proves.
            made_at: now, in seconds since the epoch.
            lifetime: seconds until it expires.

        Returns:
            False, and nothing is changed, if there is no such user, if the purpose and
            address had a token within the last `PAUSE` seconds, or if the user and
            purpose had `MOST_PER_HOUR` of them within the last hour.
        """

    def look(self, token_hash: str, now: int) -> MailToken | None:
        """Return a token that is kept and has not expired."""

    def withdraw(self, token_hash: str) -> None:
        """Forget a token that was never sent, as if it had not been made."""
