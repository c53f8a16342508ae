"""The postman: a thread of every worker process that sends the letters of the outbox.

A letter is forgotten only after it was handed over: a crash loses none, and a crash
right after the hand-over sends one twice.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence

from flask import Flask

from authsvc.core.errors import Unavailable
from authsvc.core.mails import Mail
from authsvc.core.recovery import Recovery
from authsvc.infra.letterhead import Letterhead
from authsvc.infra.mail import Delivery, MailDeferred, MailRefused
from authsvc.infra.outbox import SqlOutbox, Waiting

POLL_SECONDS = 2.0
CHORES_SECONDS = 3600.0

_REST_AFTER_CRASH = 30.0
_STOP_SECONDS = 5.0
_log = logging.getLogger(__name__)


class Postman:
    """Sends letters, and does the house's chores about once an hour.

    Args:
        app: whose database it is.
        outbox: holds the letters.
        recovery: tells what a letter has become.
        letterhead: words it.
        delivery: takes it.
        housekeeping: the chores; one that finds its store down is left until the next time.
    """

    def __init__(
        self,
        app: Flask,
        outbox: SqlOutbox,
        recovery: Recovery,
        letterhead: Letterhead,
        delivery: Delivery,
        housekeeping: Sequence[Callable[[], object]] = (),
    ) -> None:
        self._app = app
        self._outbox = outbox
        self._recovery = recovery
        self._letterhead = letterhead
        self._delivery = delivery
        self._housekeeping = housekeeping
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; in the process that serves, for no thread outlives a fork."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._watch, name="postman", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, within 5 s. A letter that is just being sent is sent again by another."""
        self._stopping.set()
        self._outbox.news.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            self._thread = None

    def send_one(self) -> bool:
        """Send one letter, if one is due; tell whether there was one.

        Raises:
            UsersUnavailable: the letter, if one was claimed, is tried again.
        """
        waiting = self._outbox.claim()
        if waiting is None:
            return False
        mail = self._written(waiting)
        if mail is None:
            self._outbox.done(waiting)
            _log.info("%s has no reader", _name(waiting))
        else:
            self._send(waiting, mail)
        return True

    def _written(self, waiting: Waiting) -> Mail | None:
        """Return the mail, unless a change of its user has withdrawn the letter meanwhile."""
        mail = self._recovery.write(waiting.letter)
        if mail is None or self._outbox.holds(waiting):
            return mail
        self._recovery.withdraw(mail)
        return None

    def _send(self, waiting: Waiting, mail: Mail) -> None:
        try:
            self._delivery.deliver(self._letterhead.compose(mail), str(waiting.id))
        except MailRefused as error:
            self._outbox.done(waiting)
            _log.error("%s can never be sent, and is dropped: %s", _name(waiting), error)
        except MailDeferred as error:
            self._put_off(waiting, mail, error)
        else:
            self._outbox.done(waiting)
            _log.info("%s was sent", _name(waiting))

    def _put_off(self, waiting: Waiting, mail: Mail, error: MailDeferred) -> None:
        self._recovery.withdraw(mail)
        if self._outbox.failed(waiting):
            _log.warning("%s could not be sent, try %d: %s", _name(waiting), waiting.tries, error)
        else:
            _log.error("%s could not be sent for a day, and is dropped: %s", _name(waiting), error)

    def _watch(self) -> None:
        """Let the work begin anew, after a rest, should anything unforeseen have ended it."""
        while not self._stopping.is_set():
            work = threading.Thread(target=self._work, name="postman at work", daemon=True)
            work.start()
            work.join()
            self._stopping.wait(_REST_AFTER_CRASH)

    def _work(self) -> None:
        chores_at = time.monotonic() + random.uniform(0, POLL_SECONDS)  # noqa: S311
        with self._app.app_context():
            while not self._stopping.is_set():
                self._outbox.news.clear()
                self._empty_outbox()
                if time.monotonic() >= chores_at:
                    self._keep_house()
                    chores_at += CHORES_SECONDS * random.uniform(0.9, 1.1)  # noqa: S311
                if not self._stopping.is_set():
                    self._outbox.news.wait(POLL_SECONDS * random.uniform(0.75, 1.25))  # noqa: S311

    def _empty_outbox(self) -> None:
        try:
            while not self._stopping.is_set() and self.send_one():
                pass
        except Unavailable as error:
            _log.debug("the outbox is not reached: %s", type(error).__name__)

    def _keep_house(self) -> None:
        for chore in self._housekeeping:
            try:
                chore()
            except Unavailable as error:
                _log.warning("a chore is left for later: %s", type(error).__name__)


def _name(waiting: Waiting) -> str:
    return f"letter {waiting.id} ({waiting.letter.kind})"
