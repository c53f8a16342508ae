"""What nginx does about a node that is silent, or that dies while it is being asked."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.cluster.world import nginx_config
from tests.support.client import Client
from tests.support.nginx import Nginx
from tests.support.processes import HOST

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\n\r\n{}"
)
MAX_FAILS = 3
LONGEST = 5.0
"""Seconds: the two of nginx's proxy_connect_timeout, with some to spare."""


class Upstream:
    """Stands in for a node: reads each request, counts it, and answers or hangs up."""

    def __init__(self, *, answers: bool) -> None:
        self.requests = 0
        self._answers = answers
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "Upstream":
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(5)
                    connection.recv(65_536)
                    self.requests += 1
                    if self._answers:
                        connection.sendall(ANSWER)
                        connection.shutdown(socket.SHUT_WR)
                        connection.recv(65_536)  # What is closed unread resets the answer, too.


@contextmanager
def silent_port() -> Iterator[int]:
    """Lend a port that lets nobody in and refuses nobody: its queue is full."""
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        for _ in range(4):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def nginx_before(folder: Path, first: int, second: int) -> Iterator[Client]:
    """Run nginx before two nodes; lend a client of it."""
    ports = (first, first)
    with Nginx(folder, ports, nginx_config(ports, (second, second))) as nginx:
        yield Client(nginx.first, timeout=LONGEST)


def test_a_silent_node_costs_no_request_and_is_then_left_alone(
    tmp_path: Path, nginx_binary: str
) -> None:
    with (
        Upstream(answers=True) as alive,
        silent_port() as silent,
        nginx_before(tmp_path, alive.port, silent) as client,
    ):
        waits = [seconds_of_a_post(client) for _ in range(2 * MAX_FAILS)]
        later = [seconds_of_a_post(client) for _ in range(2 * MAX_FAILS)]
    assert alive.requests == 4 * MAX_FAILS
    assert sum(later) < max(waits)


def test_a_post_that_a_dying_node_may_have_done_is_never_sent_to_another(
    tmp_path: Path, nginx_binary: str
) -> None:
    with (
        Upstream(answers=False) as one,
        Upstream(answers=False) as other,
        nginx_before(tmp_path, one.port, other.port) as client,
    ):
        for asked in (1, 2):
            assert client.post("/login", {}).status == 502
            assert one.requests + other.requests == asked
        assert client.get("/captcha").status == 502
        assert (one.requests, other.requests) == (2, 2), "a GET is asked of both"


def seconds_of_a_post(client: Client) -> float:
    """Send a POST that must succeed; return how long that took."""
    began = time.monotonic()
    assert client.post("/login", {}).status == 200
    return time.monotonic() - began
