"""Tokens in cookies, for browsers, where the operator allows it.

The access and the refresh token are kept out of scripts' reach (HttpOnly). A request that
relies on them must prove, unless it only reads, that it was sent by a page that may read
the third cookie: its value, which is bound to the session, must come along in a header.
"""

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import cast

from flask import Flask, Response, current_app, request

from authsvc.core.errors import CookiesOff, CsrfRejected
from authsvc.core.sessions import Tokens

ACCESS = "__Host-authsvc-access"
REFRESH = "__Host-authsvc-refresh"
CSRF = "__Host-authsvc-csrf"
CSRF_HEADER = "X-CSRF-Token"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods that only read; a request of another one needs the header too."""

_EXTENSION = "authsvc-cookies"


@dataclass(frozen=True, slots=True)
class _Cookies:
    allowed: bool
    key: bytes


def install(app: Flask, *, allowed: bool, key: bytes) -> None:
    """Let the application keep tokens in cookies, or not; `key` is secret."""
    app.extensions[_EXTENSION] = _Cookies(allowed, key)


def are_allowed() -> bool:
    """Tell whether tokens may be kept in cookies."""
    return _cookies().allowed


def require_allowed() -> None:
    """Do nothing, if tokens may be kept in cookies.

    Raises:
        CookiesOff
    """
    if not are_allowed():
        raise CookiesOff


def access_token() -> str | None:
    """Return the access token of the request's cookie; None if it relies on no cookie."""
    if "Authorization" in request.headers:
        return None
    return _cookie(ACCESS)


def refresh_token() -> str | None:
    """Return the refresh token of the request's cookie, if there is one."""
    return _cookie(REFRESH)


def check_page(session_id: str) -> None:
    """Let a request that relies on a cookie go on if its page could read the session's other one.

    Raises:
        CsrfRejected
    """
    if request.method in SAFE_METHODS:
        return
    expected = _csrf_token(session_id).encode()
    shown = (request.headers.get(CSRF_HEADER, ""), request.cookies.get(CSRF, ""))
    same = [hmac.compare_digest(value.encode(), expected) for value in shown]
    if not all(same):
        raise CsrfRejected


def keep(response: Response, tokens: Tokens) -> None:
    """Give the client the tokens in cookies."""
    longest = tokens.refresh_expires_in
    _set(response, ACCESS, tokens.access_token, tokens.expires_in)
    _set(response, REFRESH, tokens.refresh_token or "", longest)
    _set(response, CSRF, _csrf_token(tokens.session_id), longest, readable=True)


def forget(response: Response) -> None:
    """Take the cookies back, if the request came with any."""
    for name in (ACCESS, REFRESH, CSRF):
        if name in request.cookies:
            _set(response, name, "", 0, readable=name == CSRF)


def _set(
    response: Response, name: str, value: str, seconds: int, *, readable: bool = False
) -> None:
    response.set_cookie(
        name, value, max_age=seconds, secure=True, httponly=not readable, samesite="Lax"
    )


def _cookie(name: str) -> str | None:
    return request.cookies.get(name) or None if are_allowed() else None


def _csrf_token(session_id: str) -> str:
    digest = hmac.digest(_cookies().key, session_id.encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _cookies() -> _Cookies:
    return cast(_Cookies, current_app.extensions[_EXTENSION])
