"""How this dialect shows what the core knows."""

import json
from datetime import UTC, datetime
from typing import Any, TypedDict

from authsvc.core.users import User


class UserShape(TypedDict):
    id: int
    username: str
    email: str | None
    emailVerified: bool
    permission: int
    disabled: bool
    totp: bool
    data: Any
    createdAt: str


def user_shape(user: User) -> UserShape:
    return {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "emailVerified": user.email_verified,
        "permission": user.permission,
        "disabled": user.disabled,
        "totp": user.totp_on,
        "data": json.loads(user.data),
        "createdAt": moment(user.created_at),
    }


def moment(seconds: int) -> str:
    """Return a time as RFC 3339 writes it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
