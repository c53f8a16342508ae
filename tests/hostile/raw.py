"""Connections on which anything can be written, and every answer that comes back is read."""

import http.client
import io
import socket
import time
from collections.abc import Iterable, Sequence

from tests.support.client import Answer
from tests.support.processes import HOST

READ = 65_536


class Line:
    """One connection, kept open.

    Args:
        port: where it goes.
        source: the local address that it comes from.
        patience: seconds that a read may take.
    """

    def __init__(self, port: int, *, source: str = "127.0.0.1", patience: float = 15.0) -> None:
        self.socket = socket.create_connection((HOST, port), patience, (source, 0))
        self.received = b""

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Sends bytes; tells whether the other side still took them."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def listen(self, quiet: float = 0.5) -> bool:
        """Reads until nothing has come for so many seconds; tells whether the other side closed."""
        self.socket.settimeout(quiet)
        try:
            while data := self.socket.recv(READ):
                self.received += data
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def expect(
        self, count: int, methods: Iterable[str] = (), seconds: float = 10.0
    ) -> list[Answer]:
        """Reads until so many answers have come; returns all that came within a moment more."""
        deadline = time.monotonic() + seconds
        while self.received.count(b"\r\n\r\n") < count and time.monotonic() < deadline:
            if self.listen(0.01):
                break
        self.listen(0.1)
        return self.answers(methods)

    def answers(self, methods: Iterable[str] = ()) -> list[Answer]:
        """Returns the whole answers that came, interim ones left out.

        Args:
            methods: of the requests, in their order; POST where none is given.
        """
        return answers_in(self.received, list(methods))


class _Stream:
    def __init__(self, stream: io.BytesIO) -> None:
        self.stream = stream

    def makefile(self, _: str) -> io.BytesIO:
        return self.stream


class _Kept(io.BytesIO):
    def close(self) -> None:
        """Stays open: one answer after the other is read from it."""


def answers_in(received: bytes, methods: Sequence[str] = ()) -> list[Answer]:
    """Returns the answers in what was received, one after the other."""
    stream = _Kept(received)
    found: list[Answer] = []
    while stream.tell() < len(received):
        method = methods[len(found)] if len(found) < len(methods) else "POST"
        answer = http.client.HTTPResponse(_Stream(stream), method=method)  # type: ignore[arg-type]
        answer.begin()
        found.append(Answer(answer.status, answer.reason, answer.headers, answer.read()))
    return found


def ask(port: int, request: bytes, seconds: float = 15.0, *, source: str = "127.0.0.1") -> Answer:
    """Sends bytes, and returns the only answer; the connection must be closed after it."""
    with Line(port, source=source) as line:
        line.send(request)
        assert line.listen(seconds), line.received
        [answer] = line.answers([request.partition(b" ")[0].decode("latin-1")])
    return answer
