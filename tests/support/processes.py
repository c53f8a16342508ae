"""Server processes of our own: each with its folder and log, bounded in time, gone with the run."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.support.family import Member, family_of, kill_all, still_there

HOST = "127.0.0.1"
TETHER = Path(__file__).with_name("tether.py")

# Below the range from which Linux takes the ports of clients, so that no client has a stopped
# server's port when it starts again.
PORTS = range(20_000, 32_000)

# All that a server inherits from the environment of the test run.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")


class DidNotStart(Exception):
    """A server ended, or did not answer in time, while it was being started."""

    def __init__(self, name: str, exit_status: int | None, log_tail: str) -> None:
        fate = (
            "did not answer in time" if exit_status is None else f"ended with status {exit_status}"
        )
        super().__init__(f"{name} {fate}. The end of its log:\n{log_tail}")
        self.exit_status = exit_status
        self.log_tail = log_tail


class DidNotStop(AssertionError):
    """A server outstayed its SIGTERM, or left processes behind; by now they are all killed."""


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Asks until the condition holds or the time is over; returns whether it held."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def accepts_tcp(port: int, host: str = HOST) -> bool:
    """Tells whether something accepts connections on a TCP port."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def accepts_unix(path: Path) -> bool:
    """Tells whether something accepts connections on a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Returns that many different loopback ports on which nobody listens."""
    ports: list[int] = []
    # All are held until all are found, so that none is found twice.
    with ExitStack() as held:
        for port in random.sample(PORTS, len(PORTS)):
            if len(ports) == count:
                break
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            ports.append(port)
    if len(ports) < count:
        raise OSError(f"fewer than {count} free ports in {PORTS}")
    return ports


def free_port() -> int:
    """Returns a loopback port on which nobody listens."""
    return free_ports(1)[0]


def clean_environment() -> dict[str, str]:
    """Returns the few variables that every server may inherit."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


class Server(ABC):
    """A server that can be started, stopped, killed, paused and started again, port and data kept.

    As a context manager it is started on entry and stopped on exit. Start it from the main thread:
    the kernel ends it with the thread that started it.
    """

    name = "server"
    start_seconds = 20.0
    stop_seconds = 15.0
    # How long its children may outlive it: gunicorn's workers look for their parent once a second.
    orphan_seconds = 5.0
    # A server with children of its own needs SIGTERM here, to take them along.
    parent_death_signal = signal.SIGKILL

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._family: set[Member] = set()

    @abstractmethod
    def command(self) -> list[str]:
        """Returns the command that runs the server in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tells whether the server answers; must itself be bounded in time."""

    def prepare(self) -> None:
        """Puts into the folder what the server needs; called before each start."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """Returns the whole environment of the server."""
        return clean_environment()

    def working_folder(self) -> Path:
        """Returns the folder in which the server runs."""
        return self.folder

    @property
    def pid(self) -> int:
        """The id of the running process."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether the process is there, paused or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Starts the server and returns when it answers.

        Raises:
            DidNotStart: it ended or stayed silent; nothing of it is left running.
        """
        assert not self.alive, f"{self.name} runs already"
        assert threading.current_thread() is threading.main_thread(), (
            "servers are started from the main thread"
        )
        self.prepare()
        self._process = self._launch()
        self._paused = False
        answered = wait_until(lambda: not self.alive or self.is_ready(), self.start_seconds)
        exit_status = self._process.poll()
        if exit_status is not None or not answered:
            self.kill()
            self._kill(self._orphans())
            raise DidNotStart(self.name, exit_status, self.log_tail())
        return self

    def stop(self) -> None:
        """Ends the server by SIGTERM; where it has ended, only looks for what it left behind.

        Raises:
            DidNotStop: it, or a process that it had started, had to be killed.
        """
        if self.alive:
            self._remember_family()
            self.resume()
            self._signal(signal.SIGTERM)
        ended = wait_until(lambda: not self.alive, self.stop_seconds)
        self.kill()
        wait_until(lambda: not self._orphans(), self.orphan_seconds)
        orphans = self._orphans()
        self._kill(orphans)
        self._family.clear()
        if not ended:
            raise DidNotStop(f"{self.name} was still there {self.stop_seconds} s after SIGTERM")
        if orphans:
            names = ", ".join(sorted(f"{orphan.name} ({orphan.pid})" for orphan in orphans))
            raise DidNotStop(f"{self.name} left behind: {names}")

    def kill(self) -> None:
        """Ends the server by SIGKILL, as a crash would; its children are left to notice it."""
        if self.alive:
            self._remember_family()
            self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(self.stop_seconds)

    def restart(self) -> None:
        """Stops the server and starts it again on the same port and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freezes the server (SIGSTOP); it is frozen on return.

        The kernel still accepts connections for it.
        """
        if not self._paused:
            self._signal(signal.SIGSTOP)
            assert wait_until(self._has_stopped, 5), f"{self.name} could not be paused"
            self._paused = True

    def resume(self) -> None:
        """Lets a paused server go on (SIGCONT)."""
        self._signal(signal.SIGCONT)
        self._paused = False

    def ensure_running(self) -> None:
        """Brings the server back from whatever a test did to it."""
        if self._paused:
            self.resume()
        if not self.alive:
            self.start()

    def children(self) -> set[Member]:
        """Returns what the server has started, directly or not, and what has not ended."""
        self._remember_family()
        return still_there(self._family)

    def log_text(self) -> str:
        """Returns all that the server has written, over all its starts."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 40) -> str:
        """Returns the last lines that the server has written."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self) -> subprocess.Popen[bytes]:
        tether = [
            sys.executable,
            "-I",
            "-S",
            str(TETHER),
            str(int(self.parent_death_signal)),
            str(os.getpid()),
        ]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*tether, *self.command()],
                cwd=self.working_folder(),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal is for pytest, which then stops its servers in order.
                start_new_session=True,
            )

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} was never started"
        return self._process

    def _signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def _has_stopped(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG) is not None

    def _remember_family(self) -> None:
        if self.alive:
            self._family |= family_of(self.pid)

    def _kill(self, members: set[Member]) -> None:
        kill_all(members)
        wait_until(lambda: not still_there(members), self.stop_seconds)

    def _orphans(self) -> set[Member]:
        if self._process is not None:
            # What shares its session is found also when the process itself is gone.
            self._family |= family_of(self._process.pid)
        return still_there(self._family)
