"""What the pages share: how their files are sent, and what a browser may do with them."""

import os
from pathlib import Path

from flask import Response, request
from werkzeug.exceptions import NotFound

from authsvc.web.addresses import addresses

ASSETS = Path(__file__).with_name("assets")

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
}


def file(folder: Path, name: str) -> Response:
    """Return a file, with an ETag; it is asked for again each time, and seldom sent.

    Raises:
        NotFound: the folder has no such file.
    """
    if name not in os.listdir(folder):  # to look for it could fail: a name can be too long
        raise NotFound
    path = folder / name
    answer = Response(path.read_bytes(), mimetype=_TYPES[path.suffix])
    answer.headers["Cache-Control"] = "no-cache"
    answer.add_etag()
    answer.make_conditional(request)
    return answer


def with_policy(page: Response) -> Response:
    """Let a page use its own files and talk to the service, on all its ports, and nothing else."""
    others = {place.origin for place in addresses() if place.origin}
    service = " ".join(["'self'", *sorted(others)])
    allowed = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "media-src": f"{service} blob:",
        "connect-src": service,
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    page.headers["Content-Security-Policy"] = "; ".join(map(" ".join, allowed.items()))
    return page
