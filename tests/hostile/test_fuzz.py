"""libFuzzer, over tokens, bodies and headers: nothing is raised but the facts that are documented.

What it finds once is kept as a seed in the target's file, which every run begins with.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import clean_environment
from tests.support.service import ROOT

SECONDS = 8
LEAST_RUNS = 1000

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is made for Linux on x86-64 alone"
)


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Runs Python in the repository's folder."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=clean_environment() | {"TMPDIR": str(folder)},
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize("target", ["fuzz_tokens", "fuzz_bodies", "fuzz_headers"])
def test_nothing_undocumented_is_raised(target: str, tmp_path: Path) -> None:
    command = ["-m", f"tests.hostile.{target}", str(tmp_path / "corpus")]
    command += [f"-artifact_prefix={tmp_path}/"]
    ended = run(
        *command, f"-max_total_time={SECONDS}", "-seed=1", "-len_control=0", folder=tmp_path
    )
    told = (ended.stderr + ended.stdout).decode("utf-8", "replace")
    assert ended.returncode == 0, told[-4000:]
    [runs] = re.findall(r"Done (\d+) runs", told)
    assert int(runs) >= LEAST_RUNS
