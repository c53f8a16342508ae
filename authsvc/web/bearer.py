"""The access token that a request carries (RFC 6750, section 2.1)."""

from flask import Flask, current_app, request

from authsvc.core.errors import InvalidToken

_EXTENSION = "authsvc-bare-tokens"


def install(app: Flask, *, bare: bool) -> None:
    """Let the application take tokens without a scheme too, if they may be `bare`."""
    app.extensions[_EXTENSION] = bare


def bearer_token() -> str:
    """Return the token of `Authorization: Bearer <token>`, or of a bare `Authorization: <token>`.

    Raises:
        InvalidToken: there is none, or the header has another scheme or form.
    """
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    token = token.strip()
    if not token and current_app.extensions[_EXTENSION]:
        scheme, token = "bearer", scheme
    if scheme.lower() != "bearer" or not token or not token.isascii() or " " in token:
        raise InvalidToken
    return token
