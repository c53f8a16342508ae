"""Traffic: clients that keep their connections, and notice whatever is not answered."""

import http.client
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Traffic:
    """Clients that ask one path over and over, for the length of a `with` block.

    A connection that is refused carried no request; one that ends before the answer to
    what was sent on it lost a request.

    Args:
        base: such as http://127.0.0.1:8080.
        clients: how many there are.
        path: what they ask for.
        pause: seconds between an answer and the next request of a client.
    """

    def __init__(self, base: str, clients: int, path: str = "/version", pause: float = 0.01):
        address = urlsplit(base)
        self._host, self._port = address.hostname or "", address.port
        self._path, self._pause = path, pause
        self.answers: Counter[int] = Counter()
        self.lost: list[str] = []
        self.refused = 0
        self.farewells = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def count(self) -> int:
        """How many requests were answered."""
        return self.answers.total()

    def flow(self, seconds: float = 1.0) -> None:
        """Let the traffic go on for a while."""
        time.sleep(seconds)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=15)
        while not self._over.is_set():
            try:
                if connection.sock is None:
                    connection.connect()
            except OSError:
                self.refused += 1
                time.sleep(0.1)
                continue
            self._ask_once(connection)
            time.sleep(self._pause)
        connection.close()

    def _ask_once(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.request("GET", self._path)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(repr(error))
            connection.close()
            return
        self.answers[answer.status] += 1
        self.farewells += answer.headers.get("Connection") == "close"
