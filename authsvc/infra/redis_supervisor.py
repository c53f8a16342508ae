"""The process that owns the private redis-server; run as a script, it needs nothing of authsvc.

It starts redis-server as its child, brings it back whenever it dies, and ends it when the service
ends, in whatever way that happens:

- The service and its supervisor hold the two ends of a socket pair. The service's death closes its
  end; its `stop()` shuts it down. Forked workers keep a copy of that end open, so the supervisor
  also looks whether it still has the parent that it was started by.
- The supervisor's death closes the other end, so the service need not wait for it as for a child:
  gunicorn collects every child's exit status itself.
- The supervisor locks the data folder, and redis-server inherits the lock: no second redis-server
  ever writes to one append-only file.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

# Seconds.
REDIS_ENDS_WITHIN = 5.0  # after that it is killed
PREDECESSOR_ENDS_WITHIN = 5.0
HEARTBEAT = 0.25
IMPATIENT_HEARTBEAT = 0.02
SHORTEST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
LONG_LIFE = 2.0  # a redis-server that dies younger than this died at once


class EmbeddedRedisError(Exception):
    """The private redis-server is not to be had; str() is one sentence for the operator."""


class DataInUse(EmbeddedRedisError):
    """Another authsvc, the process `pid` where that is known, uses the data folder `data`."""

    def __init__(self, data: str, pid: int | None) -> None:
        super().__init__(data, pid)
        self.data = data
        self.pid = pid

    def __str__(self) -> str:
        process = f"process {self.pid}" if self.pid else "its process is not known"
        return f"The data folder {self.data} is in use by another authsvc ({process})."


class RuntimeFolderUnsafe(EmbeddedRedisError):
    """The socket's folder `folder` exists, and others than this user may reach into it."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return (
            f"{self.folder} must be a folder, not a link, that belongs to this user"
            " and is closed to all others (mode 0700): remove it, and it is made anew."
        )


class RedisDidNotStart(EmbeddedRedisError):
    """redis-server met the fate `fate` before it first answered; `log` is its log file."""

    def __init__(self, fate: str, log: str) -> None:
        super().__init__(fate, log)
        self.fate = fate
        self.log = log

    def __str__(self) -> str:
        return f"The private redis-server {self.fate} before it answered; see {self.log}."


FAULTS: dict[str, type[EmbeddedRedisError]] = {
    fault.__name__: fault for fault in (DataInUse, RuntimeFolderUnsafe, RedisDidNotStart)
}


class Supervisor:
    """The process that owns redis-server, and lives as long as the service that started it.

    It tells the service one thing: that redis-server answers, or the fault for which it gives up.
    A persistent one, which replaces one that was killed, never gives up.

    Args:
        server: The program redis-server.
        data: The data folder.
        path: The unix socket's path.
        control: The end of a socket pair whose other end the service holds.
        service: The service's process id.
        persistent: Whether there was a redis-server before.
    """

    def __init__(
        self,
        server: Path,
        data: Path,
        path: Path,
        control: socket.socket,
        service: int,
        *,
        persistent: bool,
    ) -> None:
        self._server = server
        self._data = data
        self._folder = data / "redis"
        self._log = self._folder / "redis.log"
        self._socket = path
        self._control = control
        self._service = service
        self._persistent = persistent
        self._lock = -1

    def run(self) -> None:
        """Keep redis-server running until the service is over."""
        os.umask(0o077)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            if self._lock_data():
                make_private(self._socket.parent)
                self._keep_redis_running()
                self._socket.parent.rmdir()
        except EmbeddedRedisError as fault:
            self._give_up(fault)
        except OSError as fault:
            self._give_up(RedisDidNotStart(f"cannot be run ({fault})", str(self._log)))

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RD)  # to `_over` as if the service had ended

    def _over(self, within: float) -> bool:
        """Whether the service is over, or is so within that many seconds."""
        return closed(self._control, within) or os.getppid() != self._service

    def _give_up(self, fault: EmbeddedRedisError) -> None:
        self._tell(type(fault).__name__, *fault.args)
        if self._persistent and not self._over(0):
            say(str(fault))
            self._over(LONGEST_PAUSE)  # the service replaces this process as soon as it ends

    def _tell(self, *message: object) -> None:
        with suppress(OSError):
            self._control.sendall(json.dumps(message).encode() + b"\n")

    def _lock_data(self) -> bool:
        """Lock the data folder for this process and its redis-server, and return True.

        Returns False when the service is over before that.
        """
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + PREDECESSOR_ENDS_WITHIN
        while not self._over(0):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._make_way_for_us(deadline)
                time.sleep(SHORTEST_PAUSE)
            else:
                os.ftruncate(self._lock, 0)
                os.pwrite(self._lock, f"{self._service} {os.getpid()}\n".encode(), 0)
                return True
        return False

    def _make_way_for_us(self, deadline: float) -> None:
        """Give up on a lock that is held for too long.

        Where the system cannot end redis-server together with its supervisor (macOS), one that
        outlived a killed supervisor still holds the lock: it is ended.
        """
        holders = [int(pid) for pid in os.pread(self._lock, 64, 0).split()]
        service, supervisor = holders if len(holders) == 2 else (None, None)
        if supervisor is not None and not _alive(supervisor):
            _ask(self._socket, b"SHUTDOWN")
        if not self._persistent and time.monotonic() > deadline:
            raise DataInUse(str(self._data), service)

    def _keep_redis_running(self) -> None:
        pause = SHORTEST_PAUSE
        while not self._over(0):
            born = time.monotonic()
            fate = self._run_redis()
            if self._over(0):
                return
            if not self._persistent:
                raise RedisDidNotStart(fate, str(self._log))
            died_at_once = time.monotonic() - born < LONG_LIFE
            pause = min(2 * pause, LONGEST_PAUSE) if died_at_once else SHORTEST_PAUSE
            say(f"redis-server {fate}; it starts again in {pause:.1f} s")
            self._over(pause)

    def _run_redis(self) -> str:
        """Run redis-server until it dies or the service is over; return how it ended, in words."""
        try:
            process = self._start_redis()
        except OSError as fault:
            return f"cannot be started ({fault.strerror})"
        try:
            answered = False
            while process.poll() is None:
                if self._over(HEARTBEAT if answered else IMPATIENT_HEARTBEAT):
                    break
                if not answered and _ask(self._socket, b"PING") == b"+PONG\r\n":
                    answered = self._persistent = True
                    self._tell("Answers")
        finally:
            self._end(process)
        status = process.returncode
        return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"

    def _start_redis(self) -> subprocess.Popen[bytes]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "600",
            "dir": str(self._folder),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "save": "",
            "maxmemory-policy": "volatile-ttl",
            "loglevel": "warning",
            "logfile": str(self._log),
        }
        command = [str(self._server)]
        for name, value in options.items():
            command += [f"--{name}", value]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[self._lock],
            preexec_fn=_die_with(os.getpid()),
        )

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(REDIS_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(OSError):
            self._socket.unlink(missing_ok=True)


def make_private(folder: Path) -> None:
    """Make a folder that is this user's alone, or find that it is.

    Raises:
        RuntimeFolderUnsafe: It exists, and is not.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not ours or found.st_mode & 0o077:
        raise RuntimeFolderUnsafe(str(folder))


def closed(link: socket.socket, within: float) -> bool:
    """Whether the other end of `link` is closed, or closes within that many seconds."""
    link.settimeout(within)
    try:
        while link.recv(4096):
            pass
    except (TimeoutError, BlockingIOError):
        return False
    except OSError:
        return True
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _ask(path: Path, command: bytes) -> bytes:
    """The answer of the redis-server at a unix socket; empty if there is none within 0.5 s."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0.5)
        client.connect(str(path))
        client.sendall(command + b"\r\n")
        return client.recv(64)
    return b""


def _die_with(supervisor: int) -> Callable[[], None]:
    """What a new child runs so that it is ended when the supervisor dies, be it by SIGKILL."""
    libc = ctypes.CDLL(None)
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG

    def prepare() -> None:
        if sys.platform == "linux":
            libc.prctl(set_parent_death_signal, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != supervisor:  # it died before the line above
            os._exit(1)

    return prepare


def say(line: str) -> None:
    """Print a line where the service's own log lines go."""
    with suppress(OSError):
        os.write(2, f"authsvc: {line}\n".encode())


def _main() -> None:
    server, data, path, control, service, persistent = sys.argv[1:]
    Supervisor(
        Path(server),
        Path(data),
        Path(path),
        socket.socket(fileno=int(control)),
        int(service),
        persistent=bool(int(persistent)),
    ).run()


if __name__ == "__main__":
    _main()
