"""What the pages share: how their files are sent, and what a browser may do with them."""

import re
from pathlib import Path

from flask import Response, current_app, request
from werkzeug.exceptions import NotFound

from authsvc.web.mounts import Mount, MountedFlask, accepting_port

ASSETS = Path(__file__).with_name("assets")

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
}
_PLAIN_HOST = re.compile(r"[A-Za-z0-9.-]+")


def file(path: Path) -> Response:
    """Return a file, with an ETag; it is asked for again each time, and seldom sent.

    Raises:
        NotFound: there is no such file.
    """
    if not path.is_file():
        raise NotFound
    answer = Response(path.read_bytes(), mimetype=_TYPES[path.suffix])
    answer.headers["Cache-Control"] = "no-cache"
    answer.add_etag()
    answer.make_conditional(request)
    return answer


def with_policy(page: Response) -> Response:
    """Let a page use its own files and talk to the service, on all its ports, and nothing else."""
    service = " ".join(["'self'", *_other_ports()])
    allowed = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": f"{service} data:",
        "media-src": service,
        "connect-src": service,
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    page.headers["Content-Security-Policy"] = "; ".join(map(" ".join, allowed.items()))
    return page


def mounts() -> list[tuple[Mount, int | None]]:
    """Return the mounts, each with its port where that is another than the page's."""
    return [(mount, _port_for(mount)) for mount in _app().mount_table.mounts]


def _port_for(mount: Mount) -> int | None:
    here = accepting_port(request.environ)
    table = _app().mount_table
    reachable = [port for port in table.ports if table.leads_to(mount, port)]
    if here in reachable or not reachable:
        return None
    return reachable[0]


def _other_ports() -> list[str]:
    """Return the origins of mounts on other ports, as a policy names them."""
    name = request.host.rpartition(":")[0] or request.host
    host = name if _PLAIN_HOST.fullmatch(name) else "*"  # a policy cannot name [::1]
    return sorted({f"{host}:{port}" for _, port in mounts() if port is not None})


def _app() -> MountedFlask:
    return current_app  # type: ignore[return-value]
