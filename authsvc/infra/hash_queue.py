"""The queue in front of the password hashes, and the few threads that work it off.

A flood of log-ins must starve nothing else: so many hashes at once as the machine has
cores, over all processes; on threads that yield the processor to whoever answers
requests; and behind a queue that is full before its end would wait too long.
"""

import contextlib
import fcntl
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from authsvc.core.errors import Overloaded
from authsvc.infra.redis_supervisor import RuntimeFolderUnsafe, make_private

T = TypeVar("T")

_NICER_BY = 10
_NICEST = 19
_WEIGHT_OF_LAST = 0.2


class HashObserver(Protocol):
    """Is told what becomes of password hashes, from several threads."""

    def queued(self, change: int) -> None:
        """One hash more (1) or less (-1) waits or is computed."""

    def hashed(self, waited: float, took: float) -> None:
        """A hash was computed in `took` seconds, after `waited` seconds."""

    def refused(self) -> None:
        """There was no place, or no slot in time."""


class Unobserved:
    """Meets `HashObserver`, and tells nobody."""

    def queued(self, change: int) -> None:
        """Do nothing."""

    def hashed(self, waited: float, took: float) -> None:
        """Do nothing."""

    def refused(self) -> None:
        """Do nothing."""


class HashSlots:
    """So many hashes at once, over all processes that share a folder.

    A slot is an advisory lock on a file, so that a process that is killed
    gives its slot back. Whoever waits stands at a gate, so that a process which
    gives a slot back cannot take it again before those who came first.

    Args:
        folder: where the lock files lie; private to the service.
        count: slots.
        wait: seconds after which whoever needs a hash gives up.
    """

    def __init__(self, folder: Path, count: int, wait: float) -> None:
        self._files = [
            (folder / f"hash-gate-{number}", folder / f"hash-slot-{number}")
            for number in range(count)
        ]
        self.count = count
        self.wait = wait

    @contextlib.contextmanager
    def hold(self, preferred: int = 0) -> Iterator[None]:
        """Take a free slot, or wait for the preferred one, however long; and hold it.

        Raises:
            OSError: the lock files cannot be made.
            RuntimeFolderUnsafe: others may reach into the folder.
        """
        with contextlib.ExitStack() as held:
            order = [(preferred + step) % self.count for step in range(self.count)]
            if not any(self._take(held, number, fcntl.LOCK_NB) for number in order):
                self._take(held, preferred)
            yield

    def _take(self, held: contextlib.ExitStack, number: int, option: int = 0) -> bool:
        """Take a slot until the stack is left; False if it is taken and not to be waited for."""
        gate_file, slot_file = self._files[number]
        with contextlib.closing(_Lock(gate_file)) as gate:
            slot = contextlib.closing(_Lock(slot_file))
            with contextlib.ExitStack() as opened:
                if not (gate.take(option) and opened.enter_context(slot).take(option)):
                    return False
                held.push(opened.pop_all())
                return True


class _Lock:
    """A lock on a file, which is made if need be; it is given back when it is closed."""

    def __init__(self, file: Path) -> None:
        try:
            self._descriptor = _open(file)
        except FileNotFoundError:  # old temporary folders are cleaned away on some systems
            make_private(file.parent)
            self._descriptor = _open(file)

    def take(self, option: int) -> bool:
        """Take the lock; False if it is taken, and `option` says not to wait."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | option)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self._descriptor)


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class HashQueue:
    """Runs hashes first come, first served, on as many threads as there are slots.

    Args:
        slots: bounds how many hashes are computed at once.
        places: how many requests may wait or hash in this process.
        observer: is told about each hash.
    """

    def __init__(self, slots: HashSlots, places: int, observer: HashObserver) -> None:
        self._slots = slots
        self._places = places
        self._observer = observer
        self._lock = threading.Lock()
        self._taken = 0
        self._pace = 0.0
        self._mine = threading.local()
        self._jobs: deque[_Job] = deque()
        self._calls = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    @contextlib.contextmanager
    def admission(self) -> Iterator[None]:
        """Keep a place for what this thread hashes within; a thread that has one keeps it.

        Raises:
            Overloaded: on entering, at once: every place is taken, or whoever takes the
                next would, at the pace of late, have to wait for too long.
        """
        if getattr(self._mine, "admitted", False):
            yield
            return
        self._enter()
        self._mine.admitted = True
        try:
            yield
        finally:
            self._mine.admitted = False
            with self._lock:
                self._taken -= 1

    def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises, once it has had a slot.

        Raises:
            Overloaded: there was no place, or no slot in time.
        """
        with self.admission():
            job = _Job(work)
            self._observer.queued(1)
            try:
                self._put(job)
                return cast(T, self._result(job))
            finally:
                self._observer.queued(-1)

    def _enter(self) -> None:
        with self._lock:
            wait = self._taken * self._pace
            if self._taken < self._places and wait <= self._slots.wait:
                self._taken += 1
                return
        raise self._refusal(wait)

    def _refusal(self, wait: float) -> Overloaded:
        self._observer.refused()
        return Overloaded(retry_after=max(1, math.ceil(min(wait, self._slots.wait))))

    def _put(self, job: "_Job") -> None:
        with self._lock:
            self._jobs.append(job)
            while len(self._threads) < self._slots.count:  # not before: a fork keeps no threads
                number = len(self._threads)
                name = f"hash-{number}"
                thread = threading.Thread(
                    target=self._serve, args=(number,), name=name, daemon=True
                )
                self._threads.append(thread)
                thread.start()
        self._calls.release()

    def _result(self, job: "_Job") -> Any:
        try:
            return job.future.result(self._slots.wait)
        except TimeoutError:
            if job.future.cancel():
                raise self._refusal(self._slots.wait) from None
            return job.future.result()

    def _serve(self, number: int) -> None:
        _yield_to_others()
        while True:
            self._calls.acquire()
            began = time.monotonic()
            try:
                with self._slots.hold(number):
                    self._next().run(self._observer)
            except (OSError, RuntimeFolderUnsafe) as error:
                self._next().fail(error)
            self._note_pace(time.monotonic() - began)

    def _next(self) -> "_Job":
        with self._lock:
            return self._jobs.popleft()

    def _note_pace(self, seconds: float) -> None:
        """Note how many seconds passed from hash to hash, if all threads had been as busy."""
        with self._lock:
            last = seconds / self._slots.count
            self._pace += (last - self._pace) * (_WEIGHT_OF_LAST if self._pace else 1)


class _Job:
    """A piece of work, and who waits for it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self._work = work
        self._put_at = time.monotonic()

    def run(self, observer: HashObserver) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        began = time.monotonic()
        try:
            result = self._work()
        except BaseException as error:  # it is raised where the work is waited for
            self.future.set_exception(error)
            return
        observer.hashed(began - self._put_at, time.monotonic() - began)
        self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


def _yield_to_others() -> None:
    """Give the processor to whoever wants it before this thread; on Linux only it can be asked."""
    if sys.platform == "linux":
        this = threading.get_native_id()
        nicer = min(_NICEST, os.getpriority(os.PRIO_PROCESS, this) + _NICER_BY)
        os.setpriority(os.PRIO_PROCESS, this, nicer)
