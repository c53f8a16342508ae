"""The one door through which every error leaves, in the words of the dialect that speaks."""

import logging
from collections.abc import Mapping
from urllib.parse import quote

from flask import Flask, Response, current_app, make_response, request
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)

from authsvc.core.errors import (
    AuthError,
    InvalidToken,
    Overloaded,
    TooManyAttempts,
    TooManyCaptchas,
    Unavailable,
    UnknownCaptcha,
)
from authsvc.web.dialect import Dialect, ErrorTable
from authsvc.web.mounts import MountedRequest
from authsvc.web.observing import note_outcome

__all__ = [
    "BadRequest",
    "MethodNotAllowed",
    "NotFound",
    "RequestEntityTooLarge",
    "TooManyRequests",
    "UnsupportedMediaType",
    "install",
]

_log = logging.getLogger(__name__)

_OWN_ERRORS = ErrorTable(
    {
        BadRequest: (400, "Bad request"),
        Forbidden: (403, "Forbidden"),
        NotFound: (404, "Not found"),
        MethodNotAllowed: (405, "Method not allowed"),
        RequestEntityTooLarge: (413, "Request too large"),
        UnsupportedMediaType: (415, "Unsupported media type"),
        TooManyRequests: (429, "Too many requests"),
        Overloaded: (503, "Service unavailable"),
        Unavailable: (503, "Service unavailable"),
        Exception: (500, "Internal server error"),
    },
    {},
)


def _own_failure(_: BaseException, status: int, sentence: str) -> tuple[dict[str, str], int]:
    return {"error": sentence}, status


def install(app: Flask, dialects: Mapping[str, Dialect]) -> None:
    """Answer every error of the application in the words of the mount that owns the path."""
    app.extensions["authsvc-dialects"] = dialects
    app.register_error_handler(Exception, _answer)


def _answer(error: Exception) -> Response:
    _log_error(error)
    note_outcome(error)
    mount = request.mount if isinstance(request, MountedRequest) else None
    operation = request.endpoint.rpartition(".")[2] if request.endpoint else None
    if mount is None:
        answer = make_response(_own_failure(error, *_OWN_ERRORS.row(error, operation)))
    else:
        dialect: Dialect = current_app.extensions["authsvc-dialects"][mount.dialect]
        answer = make_response(dialect.failure(error, *dialect.errors.row(error, operation)))
    return _with_headers(answer, error)


def _with_headers(response: Response, error: Exception) -> Response:
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    elif isinstance(error, Overloaded | TooManyAttempts | TooManyCaptchas):
        response.headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, InvalidToken):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _log_error(error: Exception) -> None:
    place = f"{request.method} {quote(request.path)}"
    if isinstance(error, Unavailable):
        _log.error("%s: %s: %s", place, type(error).__name__, error.__cause__)
    elif isinstance(error, UnknownCaptcha):
        _log.info("%s: the client asked for a captcha that is not live", place)
    elif not isinstance(error, AuthError | HTTPException):
        _log.error("%s: unexpected", place, exc_info=error)
