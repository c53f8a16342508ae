"""The queue in front of the hashes: who is refused, who comes first, and who yields to whom."""

import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from authsvc.core.errors import Overloaded
from authsvc.infra.hash_queue import HashObserver, HashQueue, HashSlots, Unobserved
from authsvc.infra.hashing import Argon2Hasher
from authsvc.infra.redis_supervisor import RuntimeFolderUnsafe
from tests.infra.databases import Crowd
from tests.support.processes import wait_until


class Journal:
    """Meets `HashObserver`, and keeps what it is told."""

    def __init__(self) -> None:
        self.depths: list[int] = [0]
        self.hashes: list[tuple[float, float]] = []
        self.refusals = 0

    def queued(self, change: int) -> None:
        self.depths.append(self.depths[-1] + change)

    def hashed(self, waited: float, took: float) -> None:
        self.hashes.append((waited, took))

    def refused(self) -> None:
        self.refusals += 1


class Line:
    """A queue with one slot, and threads that stand in it.

    Args:
        folder: where the locks lie.
        places, wait: as the queue has them.
        observer: is told about each hash.
    """

    def __init__(
        self, folder: Path, places: int, wait: float, observer: HashObserver | None = None
    ) -> None:
        self.slots = HashSlots(folder, 1, wait)
        self.queue = HashQueue(self.slots, places, observer or Unobserved())
        self.done: list[object] = []
        self._crowd = Crowd(None, 16)

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._crowd.__exit__()

    def stand(self, name: object) -> "Future[Any]":
        """Let someone come, whose work is to say their name."""
        came = self._crowd.begin(self.queue.run, lambda: self.done.append(name))
        time.sleep(0.01)
        return came


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """Two places, and a long patience."""
    with Line(tmp_path, places=2, wait=10) as line:
        yield line


def test_the_work_is_returned_and_its_exception_raised(line: Line) -> None:
    assert line.queue.run(lambda: "made") == "made"
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            line.queue.run(lambda: 1 // 0)


def test_first_come_is_first_served(tmp_path: Path) -> None:
    with Line(tmp_path, places=8, wait=10) as line:
        with line.slots.hold():
            came = [line.stand(number) for number in range(8)]
        for one in came:
            one.result(5)
        assert line.done == list(range(8))


def test_without_a_place_it_is_refused_at_once(line: Line) -> None:
    with line.slots.hold():
        came = [line.stand(number) for number in range(2)]
        began = time.monotonic()
        for enter in (lambda: line.queue.run(int), lambda: line.queue.admission().__enter__()):
            with pytest.raises(Overloaded) as refused:
                enter()
            assert refused.value.retry_after >= 1
        assert time.monotonic() - began < line.slots.wait / 10
        assert not any(one.done() for one in came)
    for one in came:
        one.result(5)
    assert line.queue.run(lambda: "there is room again") == "there is room again"


def test_an_admission_keeps_one_place_however_much_is_hashed_within(tmp_path: Path) -> None:
    with Line(tmp_path, places=1, wait=10) as line:
        with line.queue.admission(), line.queue.admission():
            assert [line.queue.run(lambda: "twice") for _ in range(2)] == ["twice"] * 2
            assert isinstance(line.stand("another").exception(5), Overloaded)
        line.stand("afterwards").result(5)


def test_an_exception_gives_the_place_back(tmp_path: Path) -> None:
    with Line(tmp_path, places=1, wait=10) as line:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError), line.queue.admission():
                raise ZeroDivisionError


@pytest.mark.parametrize("wait", [0.05, 0.3])
def test_without_a_slot_in_time_it_is_refused_and_never_hashed(tmp_path: Path, wait: float) -> None:
    with Line(tmp_path, places=2, wait=wait) as line:
        with line.slots.hold():
            began = time.monotonic()
            refused = line.stand("too late").exception(5)
            assert isinstance(refused, Overloaded)
            assert refused.retry_after == 1
            assert wait <= time.monotonic() - began < wait + 0.5
        line.stand("in time").result(5)
        assert line.done == ["in time"]


def test_who_would_wait_too_long_at_the_pace_of_late_is_refused_at_once(tmp_path: Path) -> None:
    with Line(tmp_path, places=100, wait=0.5) as line:
        line.queue.run(lambda: time.sleep(0.2))
        with line.slots.hold():
            came = [line.stand(number) for number in range(3)]
            began = time.monotonic()
            with pytest.raises(Overloaded):
                line.queue.run(int)
            assert time.monotonic() - began < 0.2
        for one in came:
            one.exception(5)


def test_a_lock_that_cannot_be_made_is_told_and_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    with Line(folder, places=2, wait=10) as line:
        folder.write_text("in the way")
        with pytest.raises(NotADirectoryError):
            line.queue.run(int)
        folder.unlink()
        folder.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(RuntimeFolderUnsafe):
            line.queue.run(int)
        folder.unlink()
        assert line.queue.run(lambda: "made") == "made"


def test_as_many_threads_hash_as_there_are_slots(tmp_path: Path) -> None:
    queue = HashQueue(HashSlots(tmp_path, 2, wait=10), 64, Unobserved())
    with Crowd(None, 8) as crowd:
        came = [crowd.begin(queue.run, named_slowly) for _ in range(24)]
        assert {one.result(5) for one in came} == {"hash-0", "hash-1"}


def named_slowly() -> str:
    """Return the name of this thread, after a moment."""
    time.sleep(0.002)
    return threading.current_thread().name


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets the priority of one thread")
def test_hashes_yield_the_processor_to_everything_else(line: Line) -> None:
    here = os.getpriority(os.PRIO_PROCESS, 0)
    hashing = line.queue.run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    assert hashing == min(19, here + 10)
    assert os.getpriority(os.PRIO_PROCESS, 0) == here


def test_an_observer_is_told_of_the_queue_the_hashes_and_the_refusals(tmp_path: Path) -> None:
    journal = Journal()
    with Line(tmp_path, places=2, wait=10, observer=journal) as line:
        with line.slots.hold():
            came = [line.stand(number) for number in range(2)]
            assert line.stand("refused").exception(5) is not None
            time.sleep(0.05)
        for one in came:
            one.result(5)
        assert wait_until(lambda: len(journal.depths) == 5, 5)
    assert journal.depths[:3] == [0, 1, 2]
    assert journal.depths[-1] == 0
    assert journal.refusals == 1
    assert len(journal.hashes) == 2
    assert all(waited >= 0.05 and 0 <= took < waited for waited, took in journal.hashes)


def test_a_hash_takes_its_memory_from_the_one_before(tmp_path: Path) -> None:
    argon2 = Argon2Hasher(
        HashSlots(tmp_path, 2, wait=30), memory_kib=19456, time_cost=1, parallelism=1
    )
    pages = 19456 * 1024 // resource.getpagesize()
    with Crowd(None, 8) as crowd:
        run(crowd, argon2, 16)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        run(crowd, argon2, 16)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 16 * pages / 10


def run(crowd: Crowd, argon2: Argon2Hasher, count: int) -> None:
    """Hash so often."""
    work: Callable[[str], str] = argon2.hash
    for one in [crowd.begin(work, "password") for _ in range(count)]:
        one.result(30)
