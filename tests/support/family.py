"""Which processes belong to a server, and which of them are still there.

Read from /proc, so on Linux only; elsewhere no process is known.
"""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Member:
    """One process. Its start time tells it from a later one with the same id."""

    pid: int
    started: int
    name: str


@dataclass(frozen=True)
class Entry:
    """What /proc says about a process at this moment."""

    member: Member
    state: str
    parent: int
    session: int


def family_of(pid: int) -> set[Member]:
    """Returns all that descends from a process or shares its session, itself excluded."""
    entries = list(_entries())
    wanted = {pid}
    while True:
        found = {
            entry.member.pid for entry in entries if entry.parent in wanted or entry.session == pid
        }
        if found <= wanted:
            break
        wanted |= found
    return {
        entry.member for entry in entries if entry.member.pid in wanted and entry.member.pid != pid
    }


def still_there(members: Iterable[Member]) -> set[Member]:
    """Returns those of the processes that have not ended."""
    return {member for member in members if _is_running(member)}


def kill_all(members: Iterable[Member]) -> None:
    """Ends processes at once."""
    for member in still_there(members):
        with suppress(ProcessLookupError):
            os.kill(member.pid, signal.SIGKILL)


def _is_running(member: Member) -> bool:
    entry = _entry(member.pid)
    return entry is not None and entry.member.started == member.started and entry.state not in "ZX"


def _entries() -> Iterable[Entry]:
    for folder in PROC.glob("[0-9]*"):
        entry = _entry(int(folder.name))
        if entry is not None:
            yield entry


def _entry(pid: int) -> Entry | None:
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name, in parentheses, may itself hold spaces and parentheses.
    before, _, after = stat.rpartition(")")
    name = before.partition("(")[2]
    fields = after.split()
    return Entry(Member(pid, int(fields[19]), name), fields[0], int(fields[1]), int(fields[3]))
