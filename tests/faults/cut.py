"""A network that can be cut: a TCP proxy that, while it is cut, forwards nothing."""

import socket
import threading
from contextlib import suppress

from tests.support.processes import HOST, wait_until

CHUNK = 65_536
ARMED_SECONDS = 3.0


class Network:
    """Passes everything on to a port, unless it is cut.

    While it is cut, connections are accepted and stay open, and nothing is
    passed on in either direction. What was sent meanwhile arrives once it is
    mended, as TCP would send it again: also from those who have hung up since.
    """

    def __init__(self, port: int) -> None:
        self._upstream = (HOST, port)
        self._whole = threading.Event()
        self._whole.set()
        self._armed: bytes | None = None
        self._closing = False
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Network":
        self._listener = socket.create_server((HOST, 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._whole.set()
        for end in (self._listener, *self._ends):
            _shut(end, socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)
        for end in (self._listener, *self._ends):
            end.close()

    def cut(self, at: bytes) -> None:
        """Forward nothing from the next time on that somebody sends `at`, itself included."""
        self._armed = at
        wait_until(lambda: self._armed is None, ARMED_SECONDS)
        self._whole.clear()

    def mend(self) -> None:
        """Forward what was held back, and everything from now on."""
        self._armed = None
        self._whole.set()

    def _run(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._ends.append(client)
                self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        self._whole.wait()
        if self._closing:
            return
        try:
            server = socket.create_connection(self._upstream)
        except OSError:
            _shut(client, socket.SHUT_RDWR)
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ends.append(server)
        self._run(self._pass_on, server, client)
        self._pass_on(client, server)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if self._armed is not None and self._armed in data:
                    self._whole.clear()
                    self._armed = None
                self._whole.wait()
                target.sendall(data)
        self._whole.wait()
        _shut(target, socket.SHUT_WR)


def _shut(end: socket.socket, how: int) -> None:
    with suppress(OSError):
        end.shutdown(how)
