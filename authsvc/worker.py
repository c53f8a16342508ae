"""The gunicorn worker that authsvc runs on: gthread, mended where traffic shows its seams.

- A new connection is left to the worker that has the fewest: workers share one listening
  socket, and whoever wakes up first would take them all, for as long as they are kept alive.
- Connections that were taken while others could not are parted with, each after an answer, once
  another worker has far fewer.
- A connection takes a thread only once it sends something, and a request must have been sent
  within `REQUEST_SECONDS`.
- A worker that stops accepts what waits to be accepted, and answers it.
- No signal to stop is lost while a worker is being forked, and workers that keep dying are
  not forked without end.
- What is no HTTP is answered in JSON.
"""

import json
import mmap
import os
import signal
import socket
import struct
import threading
import time
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.workers.gthread import (  # type: ignore[import-untyped]
    TConn,
    ThreadWorker,
)

REQUEST_SECONDS = 10.0
"""How long a client may take to send a request, from its first byte on."""
SLACK_SECONDS = 1.0
"""How much longer it may take in the end: each change of a time-out is a system call."""
REST_SECONDS = 0.005
"""How long a new connection is left to the others."""
AHEAD = 1
"""How many connections more than another a worker may have, and still take the next."""
FAR_AHEAD = 6
"""How many connections more than twice another's a worker may keep: a few do no harm, and a
client that sends several requests at once would have to send the rest again."""
COUNT_SECONDS = 1.0
"""How often a worker looks whether it has so many."""
FORK_SECONDS = 0.5
"""After four times the number of workers, one is forked in so many seconds."""

_STOPPING = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT}


class Board:
    """How many connections each worker has, in memory that all processes share.

    A seat holds a process id and a number; workers that died leave theirs behind.
    """

    _SEAT = struct.Struct("qq")
    _SEATS = 256

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, self._SEATS * self._SEAT.size)

    def write(self, age: int, connections: int) -> None:
        """Say how many connections this process has, the worker of this age."""
        self._write(age, os.getpid(), connections)

    def leave(self, age: int) -> None:
        """Say that this process takes no more connections."""
        self._write(age, 0, 0)

    def least(self) -> int | None:
        """Return the fewest connections that any living worker has; None if there is no worker."""
        seats = sorted(self._SEAT.iter_unpack(self._shared), key=lambda seat: int(seat[1]))
        return next((count for pid, count in seats if pid and _is_alive(pid)), None)

    def _write(self, age: int, pid: int, connections: int) -> None:
        place = age % self._SEATS * self._SEAT.size
        self._SEAT.pack_into(self._shared, place, pid, connections)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Pace:
    """Lets some things happen at once, and then one in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._paid_until = 0.0

    def keep(self, at_once: int) -> None:
        """Wait until the next may happen, of which so many may at once."""
        now = time.monotonic()
        self._paid_until = max(now, self._paid_until) + self._seconds
        time.sleep(max(0.0, self._paid_until - now - at_once * self._seconds))


class PatientSocket(socket.socket):
    """A client's socket, on which a whole request must arrive within `REQUEST_SECONDS`.

    The time begins when the socket is made blocking, which gunicorn does for each
    request. Once it is over the client is taken to be gone.
    """

    _until = 0.0

    def setblocking(self, flag: bool) -> None:
        """Let operations wait for as long as a request may take, or not at all."""
        if self.fileno() < 0:
            return
        self._until = time.monotonic() + REQUEST_SECONDS
        self.settimeout(REQUEST_SECONDS if flag else 0)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what the client sent, or nothing once its time is over."""
        left = self._until - time.monotonic()
        timeout = self.gettimeout()
        if timeout is None or timeout > left + SLACK_SECONDS:
            self.settimeout(max(left, 0.001))
        try:
            return super().recv(size, flags)
        except TimeoutError:
            return b""


class Worker(ThreadWorker):  # type: ignore[misc]
    """A gthread worker that is fair, patient to a degree, and stops without losing a request."""

    _board = Board()
    _pace = Pace(FORK_SECONDS)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Prepare, in the master, to be forked: until then and after it signals are kept waiting.

        The master's signals reach it again in `_after_fork`, the worker's own in `init_signals`.
        """
        super().__init__(*arguments, **options)
        self._resting_until = 0.0
        self._surplus, self._counted_until = threading.Semaphore(0), 0.0
        self._pace.keep(4 * self.cfg.workers)
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)

    def init_signals(self) -> None:
        """Take signals, also those that came since the fork."""
        super().init_signals()
        util.write_error = write_error
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    def accept(self, listener: Any) -> None:
        """Accept a connection, or leave it to the others for a moment."""
        if not self._resting_until and self._is_ahead():
            self._resting_until = time.monotonic() + REST_SECONDS
            self.set_accept_enabled(False)
        else:
            self._resting_until = 0.0
            super().accept(listener)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Watch the listening sockets, but not during a rest; before the last time empty them."""
        if enabled and time.monotonic() < self._resting_until:
            return
        super().set_accept_enabled(enabled)
        if not self.alive and not enabled:
            self._board.leave(self.age)
            self._accept_what_waits()

    def enqueue_req(self, conn: TConn) -> None:
        """Give a connection to a thread; a new one not before it has sent something."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock = PatientSocket(fileno=conn.sock.detach())
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: TConn) -> Any:
        """Answer a request, and take leave of a client here: elsewhere all others would wait."""
        result = super().handle(conn)
        if not result:
            conn.close(graceful=True)
        return result

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answer a request; a client too many is told to connect anew for its next one."""
        if self._surplus.acquire(blocking=False):
            req.force_close()
        return super().handle_request(req, conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Do what there is to do, and tell the others how many connections there are now."""
        rest = self._resting_until - time.monotonic()
        super().wait_for_and_dispatch_events(min(timeout, rest) if rest > 0 else timeout)
        if self.alive:
            self._board.write(self.age, self.nr_conns)
            self._count_surplus()

    def _is_ahead(self) -> bool:
        least = self._board.least()
        return least is not None and self.nr_conns > least + AHEAD

    def _count_surplus(self) -> None:
        """Decide how many clients to part with: half of the lead, where it is a great one."""
        now = time.monotonic()
        if now < self._counted_until:
            return
        self._counted_until = now + COUNT_SECONDS
        least = self._board.least() or 0
        is_far_ahead = self.nr_conns > 2 * least + FAR_AHEAD
        self._surplus = threading.Semaphore((self.nr_conns - least) // 2 if is_far_ahead else 0)

    def _accept_what_waits(self) -> None:
        """Accept what is connected already: nobody may be left to do so."""
        for listener in self.sockets:
            before = -1
            while self.nr_conns > before:
                before = self.nr_conns
                super().accept(listener)
            listener.close()


def write_error(sock: socket.socket, status_int: int, reason: str, mesg: str) -> None:
    """Answer, in gunicorn's place, what never reached the application; `mesg` is in the log."""
    first, *words = reason.split()
    body = json.dumps({"error": " ".join([first, *map(str.lower, words)])})
    head = (
        f"HTTP/1.1 {status_int} {reason}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    util.write_nonblock(sock, "\r\n".join((*head, "", body)).encode("latin-1"))


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)


os.register_at_fork(after_in_parent=_after_fork)
