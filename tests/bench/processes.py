"""What processes cost: CPU time and memory, as the kernel counts them."""

import os
from collections.abc import Iterable
from pathlib import Path

from tests.support.service import Service

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Returns the CPU time that these processes have taken, in user and system mode."""
    return sum(map(_ticks, pids)) / _TICKS


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def workers_of(service: Service) -> list[int]:
    """Returns the ids of a service's worker processes."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def resident_kib(pid: int) -> int:
    """Returns a process's proportional set size: shared pages count by their share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise LookupError(f"no Pss of {pid}")
