"""HTTP as bytes, for what a well-behaved client would never send."""

import http.client
import socket
from collections.abc import Sequence
from contextlib import closing, suppress

from tests.support.client import Answer
from tests.support.processes import HOST

JSON = "Content-Type: application/json"


def message(method: str, target: str, headers: Sequence[str] = (), body: bytes = b"") -> bytes:
    """Returns a request as it is written; only what is given is in it, and Content-Length."""
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"{method} {target} HTTP/1.1", *headers, *length, "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes, size: int = 4096) -> bytes:
    """Returns a body in chunks, for Transfer-Encoding: chunked."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def exchange(where: int | str, request: bytes) -> Answer:
    """Sends bytes to a port or a unix socket, ends the sending, and returns the answer."""
    method = request.partition(b" ")[0].decode()
    with _connect(where) as connection:
        # Who is answered before all is sent may find the connection closed; the answer is there.
        with suppress(OSError):
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        with closing(http.client.HTTPResponse(connection, method=method)) as answer:
            answer.begin()
            return Answer(answer.status, answer.reason, answer.headers, answer.read())


def _connect(where: int | str) -> socket.socket:
    if isinstance(where, int):
        return socket.create_connection((HOST, where), timeout=15)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(15)
    connection.connect(where)
    return connection
