"""The files that the development default makes once."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from authsvc.infra.embedded import RuntimeFolderUnsafe
from authsvc.infra.runtime import lock_folder, signing_key, sqlite_url
from tests.support.service import ROOT

READS = """
import sys
from pathlib import Path
from authsvc.infra.runtime import signing_key

sys.stdin.readline()
print(signing_key(Path(sys.argv[1])))
"""


def mode(path: Path) -> int:
    """Return who may do what with a file or folder."""
    return path.stat().st_mode & 0o777


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class TestSigningKey:
    def test_is_random_private_and_made_once(self, tmp_path: Path) -> None:
        one, other = tmp_path / "one", tmp_path / "other" / "deep"
        key = signing_key(one)
        assert len(key.encode()) >= 32
        assert signing_key(one) == key
        assert signing_key(other) != key
        for data in (one, other):
            assert mode(data) == 0o700
            assert mode(data / "signing.key") == 0o600

    def test_is_private_whatever_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            signing_key(tmp_path)
        finally:
            os.umask(before)
        assert mode(tmp_path / "signing.key") == 0o600

    def test_is_the_same_for_processes_that_make_it_at_once(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", READS, str(data)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(6)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        keys = {process.communicate(timeout=30)[0] for process in processes}
        assert keys == {signing_key(data) + "\n"}
        assert [file.name for file in data.iterdir()] == ["signing.key"]

    def test_that_an_operator_put_there_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "signing.key").write_text("an operator's own key of some length\n")
        assert signing_key(tmp_path) == "an operator's own key of some length"


class TestLockFolder:
    def test_is_private_and_the_same_each_time(self, temporary: Path) -> None:
        assert lock_folder() == lock_folder()
        assert lock_folder().parent == temporary
        assert mode(lock_folder()) == 0o700

    def test_is_refused_where_it_is_a_link(self, temporary: Path) -> None:
        folder = lock_folder()
        folder.rmdir()
        elsewhere = temporary / "elsewhere"
        elsewhere.mkdir()
        folder.symlink_to(elsewhere)
        with pytest.raises(RuntimeFolderUnsafe):
            lock_folder()

    def test_is_refused_where_it_belongs_to_another_user(
        self, temporary: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        another = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: another)
        with pytest.raises(RuntimeFolderUnsafe):
            lock_folder()

    def test_is_refused_where_others_may_reach_into_it(self, temporary: Path) -> None:
        lock_folder().chmod(0o750)
        with pytest.raises(RuntimeFolderUnsafe):
            lock_folder()


def test_the_folder_of_the_database_is_made_and_private(tmp_path: Path) -> None:
    data = tmp_path / "data" / "deep"
    assert sqlite_url(data) == f"sqlite:///{data}/authsvc.sqlite3"
    assert mode(data) == 0o700
