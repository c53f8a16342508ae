"""A queue in front of the pictures of captchas, so that a flood of them leaves room for others."""

import threading

from authsvc.core.errors import Overloaded
from authsvc.core.ports import CaptchaPainter

RETRY_AFTER = 1
"""Seconds after which a picture that was refused can be asked for again."""


class PaintingQueue:
    """Meets `authsvc.core.ports.CaptchaPainter`: of all threads, one draws at a time.

    Args:
        painter: draws.
        most_waiting: threads that wait for their turn; each keeps others from being answered.
        longest_wait: seconds that one waits.
    """

    def __init__(
        self, painter: CaptchaPainter, most_waiting: int = 15, longest_wait: float = 0.5
    ) -> None:
        self._painter = painter
        self._drawing = threading.Lock()
        self._room = threading.BoundedSemaphore(1 + most_waiting)
        self._longest_wait = longest_wait

    def paint(self, answer: str, seed: bytes) -> bytes:
        """Return a PNG of `answer`, as the painter draws it.

        Raises:
            Overloaded: too many wait, or the wait was too long.
        """
        if not self._room.acquire(blocking=False):
            raise Overloaded(RETRY_AFTER)
        try:
            return self._paint_in_turn(answer, seed)
        finally:
            self._room.release()

    def _paint_in_turn(self, answer: str, seed: bytes) -> bytes:
        if not self._drawing.acquire(timeout=self._longest_wait):
            raise Overloaded(RETRY_AFTER)
        try:
            return self._painter.paint(answer, seed)
        finally:
            self._drawing.release()
