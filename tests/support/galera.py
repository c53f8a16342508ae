"""A private Galera cluster of three MariaDB nodes on loopback."""

import itertools
import os
import re
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from sqlalchemy.exc import OperationalError

from tests.support.binaries import GALERA_LIBRARY, SERVER_FOLDERS, path_of
from tests.support.mariadb import INIT_SQL, PASSWORD, USER, MariaDB
from tests.support.processes import HOST, clean_environment, free_ports

# A dead node is thrown out once the others have missed it for a second; the network's own defaults
# are five times as patient. gcache keeps what a node missed, so that it need not be copied whole.
PROVIDER = {
    "evs.keepalive_period": "PT0.3S",
    "evs.inactive_check_period": "PT0.3S",
    "evs.suspect_timeout": "PT1S",
    "evs.inactive_timeout": "PT2S",
    "evs.install_timeout": "PT2S",
    "gmcast.peer_timeout": "PT1S",
    "gcache.size": "32M",
    "gcs.fc_limit": "64",
}
# rsync's daemon gives up root, and then may not write where root's node lives. The server looks for
# programs in the system's folders first, so that our rsync needs a transfer method of our own.
METHOD_AS_ROOT = """\
#!/bin/sh
PATH={programs}:$PATH exec {method} "$@"
"""
RSYNC_AS_ROOT = """\
#!/bin/sh
if [ "$1" = --daemon ]; then sed -i '1i uid = 0\\ngid = 0' {data}/rsync_sst.conf; fi
exec {rsync} "$@"
"""
KEYLESS_ROWS = 2500
RECOVERED = re.compile(r"WSREP: Recovered position:\s*(\S+)")


class GaleraNode(MariaDB):
    """One node.

    Args:
        folder: takes its data and its logs; an empty one is filled by another node (SST).
        number: its name in the cluster.
        ports: for SQL, the group, and the two ways of catching up (IST and SST).
        group: the group ports of all nodes.
    """

    start_seconds = 60.0
    stop_seconds = 30.0

    def __init__(
        self, folder: Path, number: int, ports: tuple[int, int, int, int], group: list[int]
    ) -> None:
        super().__init__(folder)
        self.name = f"galera-{number}"
        self.log = self.folder / f"{self.name}.log"
        self.port, self._group_port, self._ist_port, self._sst_port = ports
        self._group = group
        self._programs = self.folder / "bin"
        self._position = ""
        self.founds = False
        """Whether the next start founds the cluster instead of joining it."""

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.founds and not self.data.exists():
            self._install()
        self.data.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            self._wrap_rsync()
        self._position = self._recovered()

    def command(self) -> list[str]:
        return [
            *self._server(),
            *(["--wsrep-new-cluster"] if self.founds else []),
            *([f"--wsrep-start-position={self._position}"] if self._position else []),
        ]

    def environment(self) -> dict[str, str]:
        inherited = clean_environment()
        return inherited | {"PATH": f"{self._programs}:{inherited['PATH']}:{SERVER_FOLDERS}"}

    def is_ready(self) -> bool:
        try:
            return (
                self.status("wsrep_local_state_comment") == "Synced"
                and self.status("wsrep_cluster_status") == "Primary"
            )
        except OperationalError:
            return False

    def status(self, name: str) -> str:
        """Returns one of the node's status variables."""
        return str(self.query(f"SHOW GLOBAL STATUS LIKE '{name}'")[0].Value)

    def members(self) -> int:
        """Returns how many nodes there are, as this one sees it."""
        return int(self.status("wsrep_cluster_size"))

    def give_the_others_work(self, database: str) -> None:
        """Writes what the other nodes take most of a second to repeat; returns as it is committed.

        Each row of a table without a key is looked for in the whole table there.
        """
        self.query("CREATE OR REPLACE TABLE keyless (number int)", database)
        self.query(f"INSERT INTO keyless SELECT seq FROM seq_1_to_{KEYLESS_ROWS}", database)
        time.sleep(0.2)
        self.query("UPDATE keyless SET number = -number", database)

    def _server(self) -> list[str]:
        options = {
            **PROVIDER,
            "gmcast.listen_addr": f"tcp://{HOST}:{self._group_port}",
            "ist.recv_addr": f"{HOST}:{self._ist_port}",
        }
        return [
            path_of("mariadbd"),
            "--no-defaults",
            *self._as_root(),
            f"--datadir={self.data}",
            f"--bind-address={HOST}",
            f"--port={self.port}",
            "--socket=mariadb.sock",
            "--pid-file=mariadb.pid",
            "--innodb-log-file-size=16M",
            "--innodb-buffer-pool-size=48M",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_general_ci",
            # What Galera asks of a server.
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON",
            f"--wsrep-provider={GALERA_LIBRARY}",
            f"--wsrep-provider-options={';'.join(f'{k}={v}' for k, v in options.items())}",
            "--wsrep-cluster-name=authsvc-tests",
            f"--wsrep-cluster-address=gcomm://{','.join(f'{HOST}:{port}' for port in self._group)}",
            f"--wsrep-node-name={self.name}",
            f"--wsrep-node-address={HOST}:{self._group_port}",
            f"--wsrep-node-incoming-address={HOST}:{self.port}",
            f"--wsrep-sst-method={'rsync_as_root' if os.geteuid() == 0 else 'rsync'}",
            f"--wsrep-sst-receive-address={HOST}:{self._sst_port}",
            "--wsrep-slave-threads=2",
        ]

    def _recovered(self) -> str:
        """Asks InnoDB how far a node that was killed had come, so that it need not start anew."""
        if not (self.data / "grastate.dat").exists():
            return ""
        log = self.folder / "recover.log"
        log.unlink(missing_ok=True)
        subprocess.run(
            [*self._server(), "--wsrep-recover", f"--log-error={log}"],
            cwd=self.folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=True,
        )
        found = RECOVERED.search(log.read_text(encoding="utf-8", errors="replace"))
        return found[1] if found else ""

    def _install(self) -> None:
        super()._install()
        # Users are data here: each node gets them with the rest, and no start writes them again.
        subprocess.run(
            [*self._plain(), "--bootstrap"],
            input=f"FLUSH PRIVILEGES;\n{INIT_SQL}".encode(),
            cwd=self.folder,
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=True,
        )

    def _wrap_rsync(self) -> None:
        self._programs.mkdir(exist_ok=True)
        method = METHOD_AS_ROOT.format(programs=self._programs, method=path_of("wsrep_sst_rsync"))
        rsync = RSYNC_AS_ROOT.format(data=self.data, rsync=path_of("rsync"))
        for name, text in (("wsrep_sst_rsync_as_root", method), ("rsync", rsync)):
            (self._programs / name).write_text(text)
            (self._programs / name).chmod(0o755)

    def _plain(self) -> list[str]:
        return [
            path_of("mariadbd"),
            "--no-defaults",
            *self._as_root(),
            f"--datadir={self.data}",
            "--innodb-log-file-size=16M",
        ]


class Galera:
    """Three nodes, of which two go on when one is killed.

    As a context manager it is started on entry, one node after the other, and stopped on exit.
    """

    def __init__(self, folder: Path, size: int = 3) -> None:
        ports = free_ports(4 * size)
        quadruples = list(zip(*[iter(ports)] * 4, strict=True))
        group = [group_port for _, group_port, _, _ in quadruples]
        self.nodes = [
            GaleraNode(folder.resolve() / str(number), number, own, group)
            for number, own in enumerate(quadruples, start=1)
        ]
        self._numbers = itertools.count(1)

    def url(self, database: str, order: tuple[int, ...] = ()) -> str:
        """Returns the address of a database with every node's, in an order of one's own."""
        nodes = [self.nodes[n] for n in order] or self.nodes
        hosts = ",".join(f"{HOST}:{node.port}" for node in nodes)
        return f"mysql+pymysql://{USER}:{PASSWORD}@{hosts}/{database}"

    def create_database(self, name: str | None = None) -> str:
        """Makes a database, a new one if unnamed; returns its name."""
        name = name or f"authsvc_{next(self._numbers)}"
        self.nodes[0].query(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return name

    def alive(self) -> list[GaleraNode]:
        """Returns the nodes that run."""
        return [node for node in self.nodes if node.alive]

    def is_whole(self) -> bool:
        """Tells whether every node is there and every node says so."""
        try:
            return all(node.is_ready() and node.members() == len(self.nodes) for node in self.nodes)
        except OperationalError:
            return False

    def ensure_running(self) -> None:
        """Brings back the nodes that a test has killed."""
        for node in self.nodes:
            node.ensure_running()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for number, node in enumerate(self.nodes):
                node.founds = number == 0
                started.enter_context(node)
                node.founds = False
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()
