"""The disk under SQLite is full in the middle of sign-up traffic."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.conftest import require
from tests.faults.trial import Fault
from tests.faults.world import SETTINGS, World, served, witnesses
from tests.support.binaries import Group, path_of
from tests.support.redis import RedisServer
from tests.support.service import Service

DISK = "8m"
BLOCK = 4096
NAMESPACES = Group("namespaces", ("unshare", "nsenter", "mount"))
NAMES = """
import json, sqlite3, sys
print(json.dumps(list(sqlite3.connect(sys.argv[1]).execute("SELECT username FROM users"))))
"""


class OnSmallDisk(Service):
    """The service on SQLite, its data on a small disk that is mounted for it alone."""

    _as_root = () if os.geteuid() == 0 else ("--user", "--map-root-user")

    def command(self) -> list[str]:
        data = shlex.quote(str(self.data))
        migrate = shlex.join([sys.executable, "-m", "flask", "--app", "wsgi", "migrate"])
        script = (
            f"mount -t tmpfs -o size={DISK},mode=700 tmpfs {data} && {migrate} "
            f"&& exec {shlex.join(super().command())}"
        )
        return [path_of("unshare"), "--mount", *self._as_root, "sh", "-c", script]

    @property
    def disk(self) -> Path:
        """The disk, as it is seen from outside."""
        return Path(f"/proc/{self.pid}/root{self.data}")

    def names(self) -> set[str]:
        """Return the names of the users who are stored.

        SQLite resolves links, and so does not find the disk by its path from outside.
        """
        inside = ["--user", "--preserve-credentials"] if self._as_root else []
        enter = [path_of("nsenter"), "--target", str(self.pid), "--mount", *inside]
        read = [sys.executable, "-ISc", NAMES, str(self.data / "authsvc.sqlite3")]
        run = subprocess.run(
            [*enter, *read],
            capture_output=True,
            check=True,
            timeout=20,
        )
        return {row[0] for row in json.loads(run.stdout)}


class DiskFull(Fault):
    """Something else fills the disk, and is deleted a while later."""

    name = "disk full (SQLite)"
    seconds = 3.0

    def __init__(self, disk: Path) -> None:
        self._filler = disk / "filler"

    def strike(self) -> None:
        with self._filler.open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(BLOCK))

    def mend(self) -> float:
        self._filler.unlink()
        return time.monotonic()


def test_a_full_disk_costs_no_user(
    redis_server: RedisServer,
    nginx_binary: str,
    tmp_path: Path,
    trial: Callable[[World, Fault], None],
) -> None:
    require(NAMESPACES)
    settings = {**SETTINGS, "AUTHSVC_REDIS_URL": redis_server.url}
    service = OnSmallDisk(tmp_path / "service", settings)
    with served(tmp_path, service, service.names) as world:
        known = witnesses(world)
        trial(world, DiskFull(service.disk))
        for witness in known:
            assert world.who_is(witness.token).status == 200
