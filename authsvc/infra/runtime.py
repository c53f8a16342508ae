"""The files of the development default: the data folder and what is made in it once."""

import os
import secrets
import tempfile
from pathlib import Path

from authsvc.infra.redis_supervisor import RuntimeFolderUnsafe, make_private

_KEY_BYTES = 48


def signing_key(data: Path) -> str:
    """Return the data folder's signing key, made at random the first time (mode 0600)."""
    file = data / "signing.key"
    if not file.exists():
        _create(file, secrets.token_urlsafe(_KEY_BYTES))
    return file.read_text().strip()


def sqlite_url(data: Path) -> str:
    """Return the URL of the data folder's database; the folder is made if need be."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    return f"sqlite:///{data / 'authsvc.sqlite3'}"


def lock_folder() -> Path:
    """Return this user's folder for lock files, which all services of the machine share.

    Raises:
        RuntimeFolderUnsafe: others than this user may reach into it.
        OSError: it cannot be made.
    """
    folder = Path(tempfile.gettempdir(), f"authsvc-{os.geteuid()}")
    make_private(folder)
    return folder


def undo_folder(data: Path) -> Path:
    """Return the folder for what is to be undone: in the data folder, else beside the lock files.

    Raises:
        RuntimeFolderUnsafe: others than this user may reach into it.
        OSError: it cannot be made.
    """
    folder = data / "undo"
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_private(folder)
    except (OSError, RuntimeFolderUnsafe):
        return lock_folder()
    return folder if os.access(folder, os.W_OK) else lock_folder()


def _create(file: Path, text: str) -> None:
    """Write a file that appears whole or, if another process was first, not at all."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text + "\n")
        opened.flush()
        os.fsync(descriptor)
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
