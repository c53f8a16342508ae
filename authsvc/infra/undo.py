"""Sign-ups that were answered with an error and may be stored all the same: undone for good."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from flask import Flask, current_app
from sqlalchemy import delete, select

from authsvc.core.errors import UsersUnavailable
from authsvc.infra.connections import commit, connected
from authsvc.infra.database import AuditRow, LetterRow, UserRow
from authsvc.infra.hosts import parse
from authsvc.infra.journal import Doubt, Journal

_EXTENSION = "authsvc-undo"
_PAUSE_SECONDS = 0.25
_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 5.0
_SURE_AFTER_SECONDS = 60.0
"""How long an undo is done again: a node of a cluster that was frozen may deliver late."""
_STOP_SECONDS = 5.0
_REST_AFTER_CRASH = 5.0
_log = logging.getLogger(__name__)


def install(app: Flask, url: str, folder: Callable[[], Path]) -> None:
    """Give the application a journal of the sign-ups on this database, kept in a folder."""
    plain, places = parse(url)
    name = f"{places} {plain.database}".encode()
    app.extensions[_EXTENSION] = Journal(folder, hashlib.sha256(name).hexdigest()[:12])


def journal() -> Journal:
    """Return the journal of the current application."""
    return of(current_app)


def of(app: Flask) -> Journal:
    """Return the journal of an application."""
    found: Journal = app.extensions[_EXTENSION]
    return found


class Undoer:
    """A thread of every worker process that undoes what the journal says is due.

    It takes over what dead processes left, too. It never touches a user whose sign-up was
    answered with success: those are settled before the answer.

    Args:
        app: whose database and journal they are.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._journal = of(app)
        self._first_done: dict[Doubt, float] = {}
        self._next: dict[Doubt, float] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; in the process that serves, for no thread outlives a fork."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._watch, name="undo", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and leave what is still due to other processes."""
        self._stopping.set()
        self._journal.news.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            self._thread = None
        self._journal.close()

    def work_through(self) -> bool:
        """Undo what can be undone now; tell whether something is left that could not be."""
        self._journal.adopt()
        now = time.monotonic()
        waiting = [doubt for doubt in self._journal.due() if self._next.get(doubt, 0.0) <= now]
        outcomes = [self._try(doubt) for doubt in waiting]
        return not all(outcomes)

    def _try(self, doubt: Doubt) -> bool:
        try:
            undone = undo(doubt)
        except UsersUnavailable as error:
            _log.debug("an undo is left for later: %s", type(error.__cause__).__name__)
            return False
        if undone:
            _log.warning("user %d, whose sign-up was answered as failed, was undone", doubt.user_id)
        self._schedule(doubt)
        return True

    def _schedule(self, doubt: Doubt) -> None:
        now = time.monotonic()
        if now - self._first_done.setdefault(doubt, now) < _SURE_AFTER_SECONDS:
            self._next[doubt] = now + _AGAIN_SECONDS
            return
        self._journal.settle(doubt)
        del self._first_done[doubt], self._next[doubt]

    def _watch(self) -> None:
        """Let the work begin anew, after a rest, should anything unforeseen have ended it."""
        while not self._stopping.is_set():
            work = threading.Thread(target=self._work, name="undo at work", daemon=True)
            work.start()
            work.join()
            self._stopping.wait(_REST_AFTER_CRASH)

    def _work(self) -> None:
        with self._app.app_context():
            while not self._stopping.is_set():
                self._journal.news.clear()
                left = self.work_through()
                if not self._stopping.is_set():
                    self._journal.news.wait(_PAUSE_SECONDS if left else _LOOK_SECONDS)


def undo(doubt: Doubt) -> bool:
    """Delete a user with all that was stored along; tell whether there was one.

    A transaction that is still being committed is waited for, so that what is told is final.

    Raises:
        UsersUnavailable: it is not known; nothing is deleted.
    """
    this = (UserRow.id == doubt.user_id) & (UserRow.password_hash == doubt.password_hash)
    with connected(writes=True) as connection:
        if connection.execute(select(UserRow.id).where(this).with_for_update()).first() is None:
            return False
        connection.execute(delete(LetterRow).where(LetterRow.user_id == doubt.user_id))
        connection.execute(delete(AuditRow).where(AuditRow.target_id == doubt.user_id))
        connection.execute(delete(UserRow).where(this))
        commit(connection)
    return True
