"""Finds the server programs that groups of tests need."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

# Debian keeps servers out of an ordinary user's PATH.
SERVER_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"
GALERA_LIBRARY = "/usr/lib/galera/libgalera_smm.so"


def find(program: str) -> str | None:
    """Returns the path of a program on PATH or where servers lie, None if it is not installed."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{SERVER_FOLDERS}")


def path_of(program: str) -> str:
    """Returns the path of a program that must be there."""
    path = find(program)
    if path is None:
        raise FileNotFoundError(f"{program} is not installed")
    return path


def _is_there(program: str) -> bool:
    return Path(program).exists() if os.path.isabs(program) else find(program) is not None


@dataclass(frozen=True)
class Group:
    """The tests that use one kind of server, and the programs without which they cannot run."""

    name: str
    programs: tuple[str, ...]

    def missing(self) -> list[str]:
        """Returns the programs of the group that are not installed."""
        return [program for program in self.programs if not _is_there(program)]


MARIADB = Group("MariaDB", ("mariadbd", "mariadb-install-db"))
REDIS = Group("Redis", ("redis-server",))
NGINX = Group("nginx", ("nginx",))
NODE = Group("Node.js", ("node", "npm"))
CHINESE_FONT = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
CHROMIUM = Group("Chromium", ("chromium", CHINESE_FONT))
# lsof: wsrep_sst_rsync looks with it for who listens.
CLUSTER = Group(
    "cluster",
    (
        *MARIADB.programs,
        *REDIS.programs,
        *NGINX.programs,
        *("rsync", "lsof", "wsrep_sst_rsync", GALERA_LIBRARY),
    ),
)
