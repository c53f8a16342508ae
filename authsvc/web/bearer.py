"""The access token that a request carries (RFC 6750, section 2.1)."""

from flask import request

from authsvc.core.errors import InvalidToken


def bearer_token() -> str:
    """Return the token of `Authorization: Bearer <token>`.

    Raises:
        InvalidToken: there is none, or the header has another scheme or form.
    """
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or not token.isascii() or " " in token:
        raise InvalidToken
    return token
