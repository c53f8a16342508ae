"""What is installed is what was locked, byte for byte."""

import re
from pathlib import Path

import pytest

from tests.support.service import ROOT

LOCKS = sorted((ROOT / "config").glob("requirements*.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_package_has_its_version_and_hashes(lock: Path) -> None:
    text = re.sub(r"#.*", "", lock.read_text(encoding="utf-8")).replace("\\\n", " ")
    entries = [line.split() for line in text.splitlines() if line.strip()]
    assert len(entries) > 20
    for package, *rest in entries:
        assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[0-9][\w.+!]*", package)
        assert any(re.fullmatch("--hash=sha256:[0-9a-f]{64}", word) for word in rest)


def test_nothing_is_installed_that_is_not_locked() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in makefile.splitlines() if re.search(r"\bpip\b.* install ", line)]
    assert installs
    for line in installs:
        assert "--require-hashes" in line
        assert "--only-binary :all:" in line
