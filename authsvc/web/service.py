"""What the service answers for itself, and what it adds to every answer."""

import secrets

from flask import Blueprint, Flask, Response, g

SERVICE = "authsvc"
VERSION = "0.1.0"

service = Blueprint("service", __name__)


@service.get("/version")
def tell_version() -> dict[str, str]:
    """Tell which service and which version answers."""
    return {"name": SERVICE, "version": VERSION}


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
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
