"""A private MariaDB."""

import itertools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Row, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.support.binaries import path_of
from tests.support.processes import HOST, Server, clean_environment, free_port

USER = "authsvc"
PASSWORD = "authsvc-tests"

# Run at every start, before the first login is answered.
INIT_SQL = f"""\
CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;
"""

# Small files make a quick start. Nothing here weakens what a COMMIT promises.
SETTINGS = (
    "--innodb-log-file-size=16M",
    "--innodb-buffer-pool-size=64M",
    "--skip-name-resolve",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
)


class MariaDB(Server):
    """MariaDB on a free loopback port, its data in the given folder.

    The system tables are made at the first start.
    """

    name = "mariadb"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.resolve())
        self.port = free_port()
        self.data = self.folder / "data"
        self._numbers = itertools.count(1)

    def prepare(self) -> None:
        super().prepare()
        if not self.data.exists():
            self._install()

    def command(self) -> list[str]:
        return [
            path_of("mariadbd"),
            "--no-defaults",
            *self._as_root(),
            f"--datadir={self.data}",
            f"--init-file={self.folder / 'init.sql'}",
            f"--bind-address={HOST}",
            f"--port={self.port}",
            # Relative to the data: a socket's path must be short, a temporary folder's need not be.
            "--socket=mariadb.sock",
            "--pid-file=mariadb.pid",
            *SETTINGS,
        ]

    def is_ready(self) -> bool:
        # The port accepts a while before logins are answered.
        try:
            self.query("SELECT 1")
        except OperationalError:
            return False
        return True

    def url(self, database: str = "") -> str:
        """Returns the address of a database, as AUTHSVC_DATABASE_URL takes it."""
        return f"mysql+pymysql://{USER}:{PASSWORD}@{HOST}:{self.port}/{database}"

    def create_database(self, name: str | None = None) -> str:
        """Makes a database, a new one if unnamed, empty even if it existed; returns its address."""
        name = name or f"authsvc_{next(self._numbers)}"
        self.query(f"DROP DATABASE IF EXISTS `{name}`")
        self.query(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return self.url(name)

    def query(self, sql: str, database: str = "") -> Sequence[Row[Any]]:
        """Runs one statement on its own connection, commits it, and returns its rows, if any."""
        engine = create_engine(
            self.url(database),
            poolclass=NullPool,
            connect_args={"connect_timeout": 5, "read_timeout": 10, "write_timeout": 10},
        )
        with engine.begin() as connection:
            result = connection.execute(text(sql))
            return result.fetchall() if result.returns_rows else []

    def _install(self) -> None:
        (self.folder / "init.sql").write_text(INIT_SQL, encoding="utf-8")
        with (self.folder / "install.log").open("wb") as log:
            subprocess.run(
                [
                    path_of("mariadb-install-db"),
                    "--no-defaults",
                    # Without this, as root, it takes a folder from the machine's own MariaDB.
                    "--rpm",
                    "--cross-bootstrap",
                    *self._as_root(),
                    f"--datadir={self.data}",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    # For the installation alone: waiting for the disk takes most of its time.
                    "--debug-no-sync",
                    *SETTINGS,
                ],
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=True,
            )

    @staticmethod
    def _as_root() -> list[str]:
        # MariaDB refuses to run as root unless it is told to.
        return ["--user=root"] if os.geteuid() == 0 else []
