"""What the service answers for itself, and what it adds to every answer."""

import secrets
from http import HTTPStatus

from flask import Blueprint, Flask, Response, g
from flask.typing import ResponseReturnValue

from authsvc.web.dialect import use_cases

SERVICE = "authsvc"
VERSION = "0.1.0"
KEYS_FRESH_SECONDS = 300

service = Blueprint("service", __name__)


@service.get("/version")
def tell_version() -> dict[str, str]:
    """Tell which service and which version answers."""
    return {"name": SERVICE, "version": VERSION}


@service.get("/.well-known/jwks.json")
def publish_keys() -> ResponseReturnValue:
    """Publish the keys with which others can check access tokens (RFC 7517, section 5)."""
    keys = {"keys": use_cases().tokens.public_keys()}
    return keys, {"Cache-Control": f"public, max-age={KEYS_FRESH_SECONDS}"}


def install(app: Flask) -> None:
    """Serve the service's own paths; name every request and let no answer be stored."""
    app.register_blueprint(service)
    app.before_request(_name_request)
    app.after_request(_mark_answer)


def _name_request() -> None:
    g.request_id = secrets.token_hex(8)


def _mark_answer(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    response.headers.setdefault("Cache-Control", "no-store")
    if response.status_code == HTTPStatus.NO_CONTENT:
        response.headers.pop("Content-Type", None)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
