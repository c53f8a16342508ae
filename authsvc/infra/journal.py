"""A file in which a process notes whose COMMIT is under way, so that no crash forgets it.

Each process has a file of its own and holds a lock on it for as long as it lives: whoever
can lock another's file has found what a dead process left. A file of an earlier start of
the machine may lack its last lines; only what was meant to be undone is taken from it.
"""

import fcntl
import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SUFFIX = ".undo"
_LONGEST = 1 << 20
_UNDER_WAY, _DUE, _SETTLED = "?", "!", "-"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A user who may have been stored."""

    user_id: int
    password_hash: str


class Journal:
    """The users whose COMMIT is under way in this process, and those that it is to undo.

    Where no file can be written, they are kept in memory alone.

    Args:
        folder: where the files are; asked for when the first is written.
        database: names the database, so that each finds its own files alone.
    """

    def __init__(self, folder: Callable[[], Path], database: str) -> None:
        self._find_folder = folder
        self._prefix = f"{database}."
        self._lock = threading.Lock()
        self._states: dict[Doubt, str] = {}
        self._file: tuple[int, Path] | None = None
        self.news = threading.Event()

    def begin(self, doubt: Doubt) -> None:
        """Note, before its COMMIT is sent, that a user may be stored."""
        self._note(_UNDER_WAY, doubt)

    def settle(self, doubt: Doubt) -> None:
        """Note that nothing is to be undone; before success is answered to anyone."""
        self._note(_SETTLED, doubt)

    def give_up(self, doubt: Doubt) -> None:
        """Note that a user is to be undone; before an error is answered."""
        self._note(_DUE, doubt)
        self.news.set()

    def due(self) -> list[Doubt]:
        """Return the users to be undone."""
        with self._lock:
            return [doubt for doubt, state in self._states.items() if state == _DUE]

    def adopt(self) -> None:
        """Take over what processes left that have died: all of it is to be undone."""
        for path in self._others():
            with suppress(OSError):
                self._adopt(path)

    def close(self) -> None:
        """Leave what is still to be done to other processes."""
        with self._lock:
            if self._states and self._file is not None:
                os.close(self._file[0])
                self._file = None
            self._let_go()
            self._states.clear()

    def _others(self) -> list[Path]:
        with self._lock, suppress(OSError):
            mine = self._file[1] if self._file is not None else None
            found = self._find_folder().glob(f"{self._prefix}*{_SUFFIX}")
            return [path for path in found if path != mine]
        return []

    def _adopt(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino != path.stat().st_ino:
                return
            same_start = path.name.startswith(self._prefix + _boot_id())
            for doubt, state in _read(descriptor).items():
                if state == _DUE or same_start:
                    self.give_up(doubt)
            path.unlink()
        except BlockingIOError:
            return
        finally:
            os.close(descriptor)

    def _note(self, state: str, doubt: Doubt) -> None:
        with self._lock:
            if state == _SETTLED:
                self._states.pop(doubt, None)
            else:
                self._states[doubt] = state
            try:
                self._write(_line(state, doubt))
            except OSError as error:
                _log.warning("what is to be undone is kept in memory alone: %s", error.strerror)
                self._let_go()

    def _write(self, line: bytes) -> None:
        if self._file is None or os.lseek(self._file[0], 0, os.SEEK_CUR) > _LONGEST:
            self._begin_file()
            return
        if os.write(self._file[0], line) < len(line):
            self._begin_file()

    def _begin_file(self) -> None:
        """Put a new file, locked from its first moment, in the place of the old one."""
        folder = self._find_folder()
        descriptor, draft = tempfile.mkstemp(dir=folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        path = folder / f"{self._prefix}{_boot_id()}.{Path(draft).name}{_SUFFIX}"
        try:
            for doubt, state in self._states.items():
                os.write(descriptor, _line(state, doubt))
            os.rename(draft, path)
        except OSError:
            os.close(descriptor)
            os.unlink(draft)
            raise
        self._let_go()
        self._file = descriptor, path

    def _let_go(self) -> None:
        """Let nobody read the file any more; a lock kept what it says from everyone so far."""
        if self._file is not None:
            descriptor, path = self._file
            os.ftruncate(descriptor, 0)
            path.unlink(missing_ok=True)
            os.close(descriptor)
            self._file = None


def _line(state: str, doubt: Doubt) -> bytes:
    return f"\n{json.dumps([state, doubt.user_id, doubt.password_hash])}".encode()


def _read(descriptor: int) -> dict[Doubt, str]:
    """Return the last state of each user; a line that was not written whole says nothing."""
    states: dict[Doubt, str] = {}
    with open(descriptor, "rb", closefd=False) as file:
        for line in file:
            with suppress(ValueError):
                state, user_id, password_hash = json.loads(line)
                states[Doubt(user_id, password_hash)] = state
    return {doubt: state for doubt, state in states.items() if state != _SETTLED}


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "boot"
