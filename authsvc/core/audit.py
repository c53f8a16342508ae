"""What the audit log holds: who did what to whom, from where, when. Never a secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from authsvc.core.clients import Client
from authsvc.core.users import User

SIGNED_UP = "user.signed_up"
CREATED = "user.created"
EDITED = "user.edited"
DISABLED = "user.disabled"
ENABLED = "user.enabled"
DELETED = "user.deleted"
LOGGED_OUT = "user.logged_out"
EMAIL_CHANGED = "email.changed"
EMAIL_VERIFIED = "email.verified"
PASSWORD_CHANGED = "password.changed"  # noqa: S105
PASSWORD_RESET = "password.reset"  # noqa: S105
PASSWORD_SET = "password.set"  # noqa: S105
TOTP_ON = "totp.on"
TOTP_OFF = "totp.off"
RECOVERY_CODE_USED = "totp.recovery_code_used"
TOKEN_REPLAYED = "session.token_replayed"  # noqa: S105
KEYS_ROTATED = "keys.rotated"
IMPORTED = "users.imported"
EXPORTED = "users.exported"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that is done.

    Args:
        action: one of this module's words.
        actor: who does it; None for an operator at the command line, or nobody known.
        target: to whom it is done.
        client: from where.
        details: what else is worth knowing, as JSON; never a secret.
    """

    action: str
    actor: User | None
    target: User | None
    client: Client
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """An entry, as stored. `at` is in seconds since the epoch; names are those of that time."""

    id: int
    at: int
    action: str
    actor_id: int | None
    actor: str
    target_id: int | None
    target: str
    address: str
    request_id: str
    details: Mapping[str, Any]


class AuditTrail(Protocol):
    """Where entries go that belong to no change of a user. Can raise `UsersUnavailable`."""

    def append(self, entry: Entry) -> None:
        """Add an entry that belongs to no change of a user."""


class AuditLog(AuditTrail, Protocol):
    """The audit log. Every method can raise `UsersUnavailable`."""

    def page(
        self, *, before: int | None, limit: int, user_id: int | None, action: str | None
    ) -> list[Record]:
        """Return at most `limit` records, the newest first.

        Args:
            before: only records with a smaller id.
            limit: how many.
            user_id: only what this user did or suffered.
            action: only this action.

        Raises:
            UsersUnavailable
        """

    def forget_before(self, at: int) -> int:
        """Drop the records of before this time, and return how many there were."""
