"""Which dialect owns which port and path: a table that is checked, then looked up.

Every distinct `[:port]/prefix` is a *site*. A site's rules live under a label
of their own in the URL map, so that two dialects may use the same path on two
ports, and routing never looks beyond the site that owns the path.
"""

import re
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from flask import Flask, Request
from werkzeug.routing import MapAdapter, Rule

if TYPE_CHECKING:
    from authsvc.web.dialect import Dialect

OWN_PATHS = (
    "/livez",
    "/readyz",
    "/metrics",
    "/version",
    "/docs",
    "/demo",
    "/openapi",
    "/.well-known",
)
"""Paths of the service's own, on every port; no mount may claim them."""

_MOUNT = re.compile(
    r"(?P<dialect>[a-z][a-z0-9_-]*)=(?::(?P<port>[0-9]{1,5}))?(?P<prefix>/[A-Za-z0-9._~/-]*)"
)
_IMPLIED_METHODS = frozenset({"HEAD", "OPTIONS"})


class MountError(ValueError):
    """The table of mounts cannot be served; the message says why, naming the mounts."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One dialect at one prefix, on every port or on one."""

    dialect: str
    prefix: str
    port: int | None = None

    @property
    def site(self) -> tuple[int | None, str]:
        """The port and the prefix, which mounts can share."""
        return self.port, self.prefix

    def answers_on(self, port: int | None) -> bool:
        """Tell whether a connection accepted on `port` can reach this mount."""
        return self.port is None or self.port == port

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"{self.dialect}={port}{self.prefix or '/'}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A mount's word that it answers a method on a path."""

    mount: Mount
    method: str
    path: str


def parse(text: str) -> tuple[Mount, ...]:
    """Read `dialect=[:port]/prefix, …`.

    Raises:
        MountError: an entry is not of that form, or there is none.
    """
    mounts = tuple(_parse_one(entry.strip()) for entry in text.split(",") if entry.strip())
    if not mounts:
        raise MountError("names no mount; write dialect=/prefix")
    return mounts


def _parse_one(entry: str) -> Mount:
    match = _MOUNT.fullmatch(entry)
    if match is None or "//" in match["prefix"] or "/." in match["prefix"]:
        raise MountError(f'"{entry}" is not of the form dialect=[:port]/prefix')
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise MountError(f'"{entry}" names a port outside 1 to 65535')
    return Mount(match["dialect"], match["prefix"].rstrip("/"), port)


class MountTable:
    """The mounts in force.

    Args:
        mounts: the table, in the operator's order.
        ports: the ports that the service listens on; None stands for a unix
            socket, whose connections reach portless mounts only.

    Raises:
        MountError: a mount names a port that nobody listens on.
    """

    def __init__(self, mounts: Iterable[Mount], ports: Iterable[int | None]) -> None:
        self.mounts = tuple(mounts)
        self._by_precedence = sorted(self.mounts, key=_precedence, reverse=True)
        self.ports = tuple(dict.fromkeys(ports))
        for mount in self.mounts:
            if not any(mount.answers_on(port) for port in self.ports):
                raise MountError(f'"{mount}" names port {mount.port}, on which nobody listens')

    def owner(self, port: int | None, path: str) -> Mount | None:
        """Return the mount to which a request belongs.

        The longest prefix wins; between equal ones, a mount with a port.
        """
        for mount in self._by_precedence:
            if mount.answers_on(port) and _is_under(path, mount.prefix):
                return mount
        return None

    def leads_to(self, mount: Mount, port: int | None) -> bool:
        """Tell whether the mount's prefix is its own on this port."""
        owner = self.owner(port, mount.prefix or "/")
        return owner is not None and owner.site == mount.site

    def ports_to(self, mount: Mount) -> list[int | None]:
        """Return the ports on which the mount's prefix is its own, not another mount's."""
        return [port for port in self.ports if self.leads_to(mount, port)]

    def check(self, claims: Iterable[Claim]) -> None:
        """Refuse a table in which a claim cannot be kept.

        Raises:
            MountError: two mounts claim the same port, method and path; a
                mount claims a path of the service's own; or a claim is hidden
                by another mount on every port.
        """
        first: dict[tuple[object, ...], Mount] = {}
        for claim in claims:
            self._check_own(claim)
            self._check_reachable(claim)
            place = (claim.mount.port, claim.method, _pattern(claim.path))
            if (other := first.setdefault(place, claim.mount)) is not claim.mount:
                raise MountError(
                    f'"{other}" and "{claim.mount}" both claim {claim.method} {claim.path}'
                )

    def _check_own(self, claim: Claim) -> None:
        for own in OWN_PATHS:
            if _is_under(claim.path, own):
                raise MountError(
                    f'"{claim.mount}" claims {claim.method} {claim.path}, '
                    f"but {own} is a path of the service's own"
                )

    def _check_reachable(self, claim: Claim) -> None:
        path = _pattern(claim.path)
        owners = [self.owner(port, path) for port in self.ports if claim.mount.answers_on(port)]
        if all(owner is None or owner.site != claim.mount.site for owner in owners):
            raise MountError(
                f'"{claim.mount}" claims {claim.method} {claim.path}, '
                f'which "{owners[0]}" hides on every port'
            )


def _precedence(mount: Mount) -> tuple[int, bool]:
    return len(mount.prefix), mount.port is not None


def _is_own(path: str) -> bool:
    return path.startswith(OWN_PATHS) and any(_is_under(path, own) for own in OWN_PATHS)


def _is_under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _pattern(path: str) -> str:
    return re.sub(r"<[^>]*>", "<>", path)


def mount_dialects(app: Flask, table: MountTable, dialects: Mapping[str, "Dialect"]) -> None:
    """Register every mounted dialect's blueprints, and check the table against their rules.

    Raises:
        MountError: see `MountTable.check`.
    """
    owners: dict[str, Mount] = {}
    for index, mount in enumerate(table.mounts):
        for blueprint in dialects[mount.dialect].blueprints:
            name = blueprint.name if blueprint.name not in owners else f"{blueprint.name}@{index}"
            app.register_blueprint(
                blueprint, name=name, url_prefix=mount.prefix or None, subdomain=_label(mount)
            )
            owners[name] = mount
    table.check(
        Claim(owners[rule.endpoint.rpartition(".")[0]], method, rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.rpartition(".")[0] in owners
        for method in sorted(_methods(rule) - _IMPLIED_METHODS)
    )


def _methods(rule: Rule) -> set[str]:
    return set(rule.methods or ())


@cache
def _label(mount: Mount | None) -> str:
    if mount is None:
        return ""
    return f"{mount.port or 'any'}{mount.prefix}".replace("/", "!")


class MountedRequest(Request):
    """A request that knows the mount that owns its path; None for the service's own paths."""

    mount: Mount | None = None
    outcome: str | None = None
    """What went wrong, in a word, if anything did."""


class MountedFlask(Flask):
    """A Flask application whose routing begins with the table of mounts."""

    request_class = MountedRequest
    mount_table: MountTable

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Bind a request to the rules of the mount that owns its port and path."""
        if not isinstance(request, MountedRequest):
            return super().create_url_adapter(request)
        environ, path = request.environ, request.path
        if not _is_own(path):
            request.mount = self.mount_table.owner(accepting_port(environ), path)
        return MapAdapter(  # Map.bind would check that the name is a host's
            self.url_map,
            server_name="authsvc",
            script_name=environ.get("SCRIPT_NAME") or "/",
            subdomain=_label(request.mount),
            url_scheme=environ["wsgi.url_scheme"],
            path_info=path,
            default_method=environ["REQUEST_METHOD"],
            query_args=environ.get("QUERY_STRING", ""),
        )

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as it is: none here is asynchronous, and none is asked."""
        return func


def accepting_port(environ: Mapping[str, Any]) -> int | None:
    """Return the port of the socket that accepted the connection; None for a unix socket.

    gunicorn fills `SERVER_PORT` of a unix socket's requests from the client's
    `Host`, so the socket itself is asked first.
    """
    accepted = environ.get("gunicorn.socket")
    if accepted is not None and accepted.family == socket.AF_UNIX:
        return None
    return int(environ["SERVER_PORT"])
