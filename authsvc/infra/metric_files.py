"""The files through which gunicorn's workers add up their metrics.

Every worker writes into the files of a number that no other living worker has, and its
successor goes on in them: what a dead worker counted stays counted, and there are never
more files than there were workers at once.
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import multiprocess, values

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "authsvc-metrics-"
"""What the folders of the files are called."""
_MASTER = "master"


class _Place:
    """Where this process counts. `descriptor` holds the lock that tells that a folder is in use."""

    folder: Path | None = None
    descriptor: int = -1
    number: str = _MASTER


def share() -> None:
    """Let this process and those that it forks add up what they count; once is enough.

    To be called before any metric is made. The folder is private, and gone when this
    process ends; a folder that a killed one left behind is removed by the next.

    Raises:
        OSError: there is no place for temporary files.
    """
    if _Place.folder is not None:
        return
    _sweep()
    _Place.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    # systemd-tmpfiles, too, spares a folder that is locked.
    _Place.descriptor = os.open(_Place.folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(_Place.descriptor, fcntl.LOCK_EX)
    os.environ[_VARIABLE] = str(_Place.folder)
    values.ValueClass = values.MultiProcessValue(lambda: _Place.number)  # type: ignore[no-untyped-call]
    atexit.register(_remove, _Place.folder, os.getpid())


def folder() -> Path | None:
    """Return where the workers' files lie; None where a process counts for itself."""
    return _Place.folder


def free_number(taken: Iterable[str | None]) -> str:
    """Return the number for a worker that is about to be forked, given those of the living."""
    numbers = set(taken)
    number = next(str(n) for n in range(len(numbers) + 1) if str(n) not in numbers)
    mark_dead(number)
    return number


def take(number: str) -> None:
    """Count, in a process that was just forked, under this number."""
    _Place.number = number


def mark_dead(number: str) -> None:
    """Forget what lives and dies with a worker, such as the length of its queue."""
    multiprocess.mark_process_dead(number, str(_Place.folder))  # type: ignore[no-untyped-call]


def _sweep() -> None:
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Not ours, or gone meanwhile, or in use: then it is not to be removed.
        with contextlib.suppress(OSError):
            _remove_unless_locked(left)


def _remove_unless_locked(left: Path) -> None:
    descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(left)
    finally:
        os.close(descriptor)


def _remove(left: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(left, ignore_errors=True)
