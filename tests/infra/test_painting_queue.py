"""The queue in front of the pictures: who draws, who waits, and who is refused."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from authsvc.core.errors import Overloaded
from authsvc.infra.painting_queue import PaintingQueue
from tests.support.processes import wait_until

SEED = b"seed"


class SlowPainter:
    """Draws when it is told to, and knows how many drew at once."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.drawing = 0
        self.most_at_once = 0

    def paint(self, answer: str, seed: bytes) -> bytes:
        self.drawing += 1
        self.most_at_once = max(self.most_at_once, self.drawing)
        assert self.go_on.wait(10)
        self.drawing -= 1
        return answer.encode() + seed


@pytest.fixture
def slow() -> SlowPainter:
    return SlowPainter()


@pytest.fixture
def pool(slow: SlowPainter) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool
        slow.go_on.set()


def test_one_draws_at_a_time_and_all_who_wait_get_their_picture(
    slow: SlowPainter, pool: ThreadPoolExecutor
) -> None:
    queue = PaintingQueue(slow, most_waiting=15, longest_wait=10)
    drawn = [pool.submit(queue.paint, f"A{number}", SEED) for number in range(16)]
    assert wait_until(lambda: slow.drawing == 1, 5)
    slow.go_on.set()
    assert [one.result(10) for one in drawn] == [f"A{n}".encode() + SEED for n in range(16)]
    assert slow.most_at_once == 1


def test_where_too_many_wait_the_next_is_refused_at_once(
    slow: SlowPainter, pool: ThreadPoolExecutor
) -> None:
    queue = PaintingQueue(slow, most_waiting=2, longest_wait=30)
    begun = [pool.submit(queue.paint, "A", SEED) for _ in range(8)]
    assert wait_until(lambda: sum(one.done() for one in begun) == 5, 5)
    slow.go_on.set()
    refused = [one for one in begun if isinstance(one.exception(10), Overloaded)]
    assert len(refused) == 5


def test_who_waited_for_long_is_refused_and_the_next_is_drawn(
    slow: SlowPainter, pool: ThreadPoolExecutor
) -> None:
    queue = PaintingQueue(slow, most_waiting=2, longest_wait=0.1)
    first = pool.submit(queue.paint, "A", SEED)
    assert wait_until(lambda: slow.drawing == 1, 5)
    with pytest.raises(Overloaded) as refused:
        queue.paint("B", SEED)
    assert refused.value.retry_after == 1
    slow.go_on.set()
    assert first.result(10) == b"A" + SEED
    assert queue.paint("B", SEED) == b"B" + SEED
