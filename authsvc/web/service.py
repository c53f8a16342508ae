"""What the service answers for itself."""

from flask import Blueprint, Flask
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
    """Serve the service's own paths."""
    app.register_blueprint(service)
