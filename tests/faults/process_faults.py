"""Processes that are killed, frozen or restarted."""

import os
import shutil
import signal
import time

from tests.faults.trial import Fault
from tests.support.family import kill_all
from tests.support.processes import Server
from tests.support.redis import RedisServer
from tests.support.service import Service


class Killed(Fault):
    """A server dies by SIGKILL, and is started again a while later."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = f"{name} killed (SIGKILL)"
        self._server = server

    def strike(self) -> None:
        self._server.kill()

    def mend(self) -> float:
        self._server.ensure_running()
        return time.monotonic()


class Frozen(Fault):
    """A server is stopped (SIGSTOP), and goes on later as if nothing had been."""

    seconds = 10.0

    def __init__(self, name: str, server: Server) -> None:
        self.name = f"{name} frozen for 10 s"
        self._server = server

    def strike(self) -> None:
        self._server.pause()

    def mend(self) -> float:
        self._server.resume()
        return time.monotonic()


class Restarted(Fault):
    """A server is stopped in an orderly way, and started again."""

    seconds = 0.0
    is_felt = None  # what meets a closed connection is done again on a new one

    def __init__(self, name: str, server: Server) -> None:
        self.name = f"{name} restarted"
        self._server = server

    def strike(self) -> None:
        self._server.stop()

    def mend(self) -> float:
        self._server.ensure_running()
        return time.monotonic()


class RestartedEmpty(Restarted):
    """Redis is restarted, and its append-only file is gone."""

    def __init__(self, redis: RedisServer) -> None:
        super().__init__("Redis", redis)
        self.name += " without its append-only file"

    def strike(self) -> None:
        super().strike()
        shutil.rmtree(self._server.folder / "appendonlydir")


class WorkerKilled(Fault):
    """A gunicorn worker dies by SIGKILL, a few times; its master is to see to that by itself."""

    name = "a gunicorn worker killed (SIGKILL)"
    times = 3
    seconds = 0.0
    kills_service = True
    is_felt = None

    def __init__(self, service: Service) -> None:
        self._service = service
        self._killed_at = 0.0

    def strike(self) -> None:
        for turn in range(self.times):
            time.sleep(0.5 if turn else 0)
            worker = min(self._service.children(), key=lambda child: child.started)
            os.kill(worker.pid, signal.SIGKILL)
            self._killed_at = time.monotonic()

    def mend(self) -> float:
        return self._killed_at


class ServiceKilled(Fault):
    """The master and all workers die by SIGKILL; systemd would start the service again at once."""

    name = "the whole service killed (SIGKILL)"
    seconds = 0.1  # systemd's RestartSec
    kills_service = True

    def __init__(self, service: Service) -> None:
        self._service = service

    def strike(self) -> None:
        workers = self._service.children()
        self._service.kill()
        kill_all(workers)

    def mend(self) -> float:
        started_at = time.monotonic()
        self._service.ensure_running()
        return started_at
