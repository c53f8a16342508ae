"""The other services that may ask about tokens, and how they prove who they are.

RFC 6749, section 2.3.1: HTTP Basic, or `client_id` and `client_secret` in the form.
"""

import hmac
from collections.abc import Mapping
from urllib.parse import unquote_plus

from flask import Flask, current_app, request

_EXTENSION = "authsvc-introspection-clients"


def install(app: Flask, secrets: Mapping[str, str]) -> None:
    """Let the application know these clients: id → secret."""
    app.extensions[_EXTENSION] = secrets


def client_is_known() -> bool:
    """Tell whether the request comes from a client that knows its secret."""
    client_id, given = _credentials()
    secrets: Mapping[str, str] = current_app.extensions[_EXTENSION]
    known = secrets.get(client_id)
    same = hmac.compare_digest(given.encode("utf-8", "replace"), (known or "").encode())
    return known is not None and same


def proves_itself_twice() -> bool:
    """Tell whether the client uses both ways at once, which RFC 6749, section 2.3, forbids."""
    return "Authorization" in request.headers and "client_secret" in request.form


def _credentials() -> tuple[str, str]:
    # Werkzeug fails on Basic credentials with a character that no base64 has.
    readable = request.headers.get("Authorization", "").isascii()
    basic = request.authorization if readable else None
    if basic is not None and basic.type == "basic":
        return unquote_plus(basic.username or ""), unquote_plus(basic.password or "")
    return request.form.get("client_id", ""), request.form.get("client_secret", "")
