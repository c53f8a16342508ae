"""A private Redis."""

import socket
from pathlib import Path

from tests.support.binaries import path_of
from tests.support.processes import HOST, Server, free_port


class RedisServer(Server):
    """Redis on a free loopback port, with an append-only file in the given folder."""

    name = "redis"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.resolve())
        self.port = free_port()

    @property
    def url(self) -> str:
        """The address of the first database, as AUTHSVC_REDIS_URL takes it."""
        return f"redis://{HOST}:{self.port}/0"

    def command(self) -> list[str]:
        return [
            path_of("redis-server"),
            *("--bind", HOST),
            *("--port", str(self.port)),
            *("--dir", str(self.folder)),
            *("--appendonly", "yes"),
            *("--save", ""),
        ]

    def is_ready(self) -> bool:
        # Until the append-only file is read, the answer is -LOADING.
        try:
            return self.ask("PING", timeout=1) == "+PONG"
        except OSError:
            return False

    def flush(self) -> None:
        """Forgets everything, in all databases."""
        answer = self.ask("FLUSHALL")
        assert answer == "+OK", answer

    def ask(self, line: str, *, timeout: float = 5) -> str:
        """Sends one command as a line and returns the answer's first line, as Redis writes it."""
        with socket.create_connection((HOST, self.port), timeout=timeout) as connection:
            connection.sendall(line.encode() + b"\r\n")
            with connection.makefile("rb") as answer:
                return answer.readline().decode().rstrip("\r\n")
