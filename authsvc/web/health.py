"""What an operator's machinery asks of the service itself: is it alive, ready, and how busy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from flask import Blueprint, Flask, Response, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import Forbidden

from authsvc.web.client import Network, TrustedProxies, client_is_within

_EXTENSION = "authsvc-health"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OK = "ok"
_TRACES_OF_PROXIES = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")

health = Blueprint("health", __name__)


@dataclass(frozen=True, slots=True)
class _Health:
    readiness: Callable[[], Mapping[str, str]]
    exposition: Callable[[], bytes]
    readers: Sequence[Network]


def install(
    app: Flask,
    *,
    readiness: Callable[[], Mapping[str, str]],
    exposition: Callable[[], bytes],
    readers: Sequence[Network],
) -> None:
    """Serve `/livez`, `/readyz` and `/metrics`.

    Args:
        app: the application.
        readiness: returns what the service stands on → `ok` or what is wrong, soon.
        exposition: returns the metrics, in Prometheus' text format.
        readers: the addresses that may read them.
    """
    app.extensions[_EXTENSION] = _Health(readiness, exposition, readers)
    app.register_blueprint(health)


@health.get("/livez")
def live() -> dict[str, str]:
    """Tell that this process answers."""
    return {"status": _OK}


@health.get("/readyz")
def ready() -> ResponseReturnValue:
    """Tell whether all that the service stands on answers."""
    checks = _health().readiness()
    if all(verdict == _OK for verdict in checks.values()):
        return {"status": _OK, "checks": checks}
    return {"status": "unavailable", "checks": checks}, 503


@health.get("/metrics")
def metrics() -> Response:
    """Tell Prometheus how busy the service is, if it asks from an address that may."""
    _require_reader()
    return Response(_health().exposition(), content_type=_TEXT)


def _require_reader() -> None:
    """Do nothing, if the client may read the metrics.

    Raises:
        Forbidden: it may not; or there is a proxy that nobody has told the service of, behind
            which everybody has the proxy's address.
    """
    proxies: TrustedProxies = current_app.extensions["authsvc-proxies"]
    unknown_proxy = not proxies.trusts(request.remote_addr or "") and any(
        name in request.headers for name in _TRACES_OF_PROXIES
    )
    if unknown_proxy or not client_is_within(_health().readers):
        raise Forbidden


def _health() -> _Health:
    return cast(_Health, current_app.extensions[_EXTENSION])
