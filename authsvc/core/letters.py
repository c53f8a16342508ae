"""Mails that are to be written: which, to whom, in which language."""

from dataclasses import dataclass

VERIFY = "verify"
"""Asks the owner of an address to confirm it."""
RESET = "reset"
"""Lets the owner of an address set a new password."""
EMAIL_CHANGED = "email_changed"
"""Tells the old address that another one took its place."""
PASSWORD_CHANGED = "password_changed"  # noqa: S105
"""Tells a user that the password was changed."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that is to be written, outside the request that asks for it.

    Args:
        kind: one of this module's words.
        user_id: for whom; None where only an address is given, which may be nobody's.
        address: where to; None for the user's stored address.
        language: `en` or `zh`.
    """

    kind: str
    user_id: int | None
    address: str | None
    language: str
