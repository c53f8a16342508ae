"""A load generator that costs little: prepared requests on kept connections, one process.

Run as a process of its own; reads a plan as JSON, a line, and writes what came of it.
"""

import json
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.support.processes import HOST

_LENGTH = b"content-length:"
_LONGEST_SILENCE = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it goes over the wire."""

    method: str
    path: str
    body: str = ""
    token: str = ""

    def raw(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {HOST}", "User-Agent: bench"]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        if self.body:
            lines.append("Content-Type: application/json")
            lines.append(f"Content-Length: {len(self.body.encode())}")
        return ("\r\n".join(lines) + "\r\n\r\n" + self.body).encode()


@dataclass(slots=True)
class Run:
    """What came of a run. Times in seconds.

    Args:
        statuses: status → answers.
        latencies: of the answers with status 200 or 201, those after the time included.
        in_time: how many of those came within the time.
        seconds: from the first request to the end of the time, or to the last answer.
        cpu: of the generator.
        reconnects: connections that the service closed between two requests.
    """

    statuses: dict[str, int]
    latencies: list[float] = field(repr=False)
    in_time: int
    seconds: float
    cpu: float
    reconnects: int

    @property
    def good(self) -> int:
        """How many requests were answered with success."""
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Successes a second."""
        return self.in_time / self.seconds

    @property
    def share(self) -> float:
        """The part of a core that the generator took."""
        return self.cpu / self.seconds

    def percentile(self, part: float) -> float:
        """Returns the latency that this part of the successes did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def generate(
    port: int,
    requests: Sequence[Request],
    *,
    connections: int,
    seconds: float = 1e9,
    count: int = 0,
) -> Run:
    """Asks in turn for these requests, from a process of its own, until time or count is over.

    Args:
        port: where the service listens.
        requests: taken in turn by all connections together.
        connections: each has one request under way at a time.
        seconds: how long to ask.
        count: how many requests to send at the most; 0 for any number.
    """
    plan = {
        "port": port,
        "requests": [asdict(request) for request in requests],
        "connections": connections,
        "seconds": seconds,
        "count": count or 1 << 60,
    }
    run = subprocess.run(
        [sys.executable, "-m", "tests.bench.generator"],
        input=json.dumps(plan).encode(),
        capture_output=True,
        timeout=min(seconds, 7200) + 60,
    )
    assert run.returncode == 0, run.stderr.decode()
    return Run(**json.loads(run.stdout))


class _Connection:
    def __init__(self, port: int) -> None:
        self._port = port
        self._open()

    def _open(self) -> None:
        self.socket = socket.create_connection((HOST, self._port), timeout=_LONGEST_SILENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def reopen(self) -> None:
        self.socket.close()
        self._open()

    def send(self, raw: bytes) -> None:
        self._raw = raw
        self._received = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(raw)

    def repeat(self) -> None:
        """Send the last request again, on a new connection; its time goes on."""
        sent_at = self.sent_at
        self.send(self._raw)
        self.sent_at = sent_at

    def receive(self) -> int | None:
        """Return the status once the whole answer is there; 0 if the connection was closed."""
        try:
            data = self.socket.recv(65_536)
        except ConnectionResetError:
            data = b""
        if not data:
            return 0
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        lowered = head.lower()
        start = lowered.index(_LENGTH) + len(_LENGTH)
        length = int(lowered[start:].split(b"\r\n", 1)[0])
        return int(head[9:12]) if len(body) >= length else None


def _run(plan: dict[str, Any]) -> Run:
    raws = [Request(**request).raw() for request in plan["requests"]]
    connections = [_Connection(plan["port"]) for _ in range(plan["connections"])]
    poll = select.epoll()
    by_number: dict[int, _Connection] = {}
    statuses: Counter[str] = Counter()
    latencies: list[float] = []
    sent = in_time = reconnects = 0

    def send_next(connection: _Connection) -> None:
        nonlocal sent
        connection.send(raws[sent % len(raws)])
        sent += 1

    cpu, began = time.process_time(), time.perf_counter()
    deadline = ended = began + plan["seconds"]
    waiting = 0
    for connection in connections[: plan["count"]]:
        by_number[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
        send_next(connection)
        waiting += 1
    while waiting:
        events = poll.poll(_LONGEST_SILENCE)
        if not events:
            raise TimeoutError(f"{waiting} requests are not answered")
        for number, _ in events:
            connection = by_number[number]
            status = connection.receive()
            if status is None:
                continue
            if status == 0:
                reconnects += 1
                del by_number[number]
                connection.reopen()
                by_number[connection.socket.fileno()] = connection
                poll.register(connection.socket, select.EPOLLIN)
                connection.repeat()
                continue
            now = time.perf_counter()
            statuses[str(status)] += 1
            if status in (200, 201):
                latencies.append(now - connection.sent_at)
                in_time += now <= deadline
            if now < deadline and sent < plan["count"]:
                send_next(connection)
            else:
                waiting -= 1
                ended = min(now, deadline)
    spent = time.process_time() - cpu
    return Run(dict(statuses), latencies, in_time, ended - began, spent, reconnects)


if __name__ == "__main__":
    json.dump(asdict(_run(json.loads(sys.stdin.buffer.readline()))), sys.stdout)
