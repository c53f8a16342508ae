"""Where the mounts are, seen from whoever asks for a page or a document."""

import re
from dataclasses import dataclass
from typing import cast

from flask import current_app, request

from authsvc.web.client import TrustedProxies
from authsvc.web.mounts import Mount, MountedFlask, accepting_port

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a mount answers.

    Args:
        mount: the mount.
        port: the service's own port; None where it is the very one that was asked, or a socket.
        origin: empty where it is the one that was asked; None where nobody here can know it.
    """

    mount: Mount
    port: int | None
    origin: str | None

    @property
    def url(self) -> str | None:
        """Where its operations begin: a path, or with an origin of its own."""
        return None if self.origin is None else f"{self.origin}{self.path}" or "/"

    @property
    def path(self) -> str:
        """The path that its operations begin with; empty for the root."""
        return f"{request.script_root}{self.mount.prefix}"


def addresses() -> list[Address]:
    """Return the addresses of all mounts, in the operator's order.

    A mount that answers on the port that accepted the request is where the request went, whatever
    stands between. That of another port has the same number outside only if the port that was
    asked has: a proxy that changes one changes all, and does not say into which.
    """
    table = cast(MountedFlask, current_app).mount_table
    here = accepting_port(request.environ)
    return [_address(mount, table.ports_to(mount), here) for mount in table.mounts]


def _address(mount: Mount, ports: list[int | None], here: int | None) -> Address:
    if here in ports:
        return Address(mount, None, "")
    port = next(filter(None, ports), None)
    scheme, asked = _scheme(), _HOST.fullmatch(request.host)
    if port is None or asked is None or int(asked["port"] or _DEFAULT_PORTS[scheme]) != here:
        return Address(mount, port, None)
    return Address(mount, port, f"{scheme}://{asked['name']}:{port}")


def _scheme() -> str:
    """Return the scheme that the client speaks; a proxy that is trusted is believed about it."""
    proxies = cast(TrustedProxies, current_app.extensions["authsvc-proxies"])
    forwarded = request.headers.get("X-Forwarded-Proto", "")
    believed = proxies.trusts(request.environ.get("REMOTE_ADDR", ""))
    return forwarded if believed and forwarded in _DEFAULT_PORTS else request.scheme
