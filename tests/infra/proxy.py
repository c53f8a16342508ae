"""A TCP proxy in front of MariaDB that loses a COMMIT, the answer to it, or everything."""

import socket
import threading
import time
from contextlib import ExitStack, suppress
from enum import Enum, auto

from tests.support.processes import HOST

COMMIT = b"\x03COMMIT"
"""The command COM_QUERY of MySQL's protocol, and its text."""


class Fate(Enum):
    """What becomes of the first COMMIT."""

    LOST = auto()
    ANSWER_LOST = auto()
    CUT_AT_ONCE = auto()


class LossyProxy:
    """Passes everything on, except for the first COMMIT once it is armed.

    `sent` holds the commands of all clients, one each.

    Args:
        port: MariaDB's.
        fate: LOST: the connection is cut before the COMMIT is passed on;
            ANSWER_LOST: it is passed on, and the connection cut when the answer
            comes; CUT_AT_ONCE: it is passed on, and the connection cut.
        down: seconds from the cut on in which no connection is made.
    """

    def __init__(self, port: int, fate: Fate, *, down: float = 0.0) -> None:
        self._upstream = (HOST, port)
        self._fate = fate
        self._down = down
        self._down_until = 0.0
        self._armed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open = ExitStack()
        self._dark = threading.Event()
        self.has_cut = False
        self.sent: list[bytes] = []

    def __enter__(self) -> "LossyProxy":
        self._listener = self._open.enter_context(socket.create_server((HOST, 0)))
        self.port: int = self._listener.getsockname()[1]
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._open.close()

    def arm(self) -> None:
        """Have the next COMMIT meet its fate."""
        self._armed.set()

    def go_dark(self) -> None:
        """Swallow everything from now on, and answer nothing."""
        self._dark.set()

    def come_back(self) -> None:
        """Serve new connections again; what was swallowed never arrives."""
        self._dark.clear()

    def _run(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client:
            if time.monotonic() < self._down_until:
                return
            if self._dark.is_set():
                swallow_all(client)
                return
            with socket.create_connection(self._upstream) as server:
                swallow = threading.Event()
                back = threading.Thread(target=self._back, args=(server, client, swallow))
                back.start()
                self._forth(client, server, swallow)
                cut(client, server)
                back.join()

    def _forth(
        self, client: socket.socket, server: socket.socket, swallow: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                if self._dark.is_set():
                    swallow_all(client)
                    return
                self.sent.append(data[4:])
                if COMMIT not in data or not self._armed.is_set():
                    server.sendall(data)
                    continue
                self._note_cut()
                if self._fate is Fate.LOST:
                    return
                swallow.set()
                server.sendall(data)
                if self._fate is Fate.CUT_AT_ONCE:
                    return

    def _back(self, server: socket.socket, client: socket.socket, swallow: threading.Event) -> None:
        with suppress(OSError):
            while (data := server.recv(65_536)) and not swallow.is_set():
                if not self._dark.is_set():
                    client.sendall(data)
        cut(client, server)

    def _note_cut(self) -> None:
        self._armed.clear()
        self._down_until = time.monotonic() + self._down
        self.has_cut = True


def swallow_all(client: socket.socket) -> None:
    """Read until the other end gives up."""
    with suppress(OSError):
        while client.recv(65_536):
            pass


def cut(*ends: socket.socket) -> None:
    """Shut connections down, which wakes whoever reads from them."""
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
