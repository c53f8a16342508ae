"""Private servers for all tests, and the rule for machines on which they are not installed."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.binaries import CHROMIUM, MARIADB, NGINX, NODE, REDIS, Group, path_of
from tests.support.mariadb import MariaDB
from tests.support.redis import RedisServer

INSTALL = "sudo make test-servers"
CLIENTS = Path(__file__).parent / "clients"

# Whoever uses one of these fixtures belongs to the group.
GROUPS = {
    "mariadb": MARIADB,
    "redis_server": REDIS,
    "nginx_binary": NGINX,
    "node_clients": NODE,
    "chromium": CHROMIUM,
}


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A temporary folder for the servers of the whole run."""
    with tempfile.TemporaryDirectory(prefix="authsvc-tests-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def mariadb(server_folder: Path) -> Iterator[MariaDB]:
    """The MariaDB of the whole run; take a database of your own with create_database()."""
    require(MARIADB)
    with MariaDB(server_folder / "mariadb") as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(server_folder: Path) -> Iterator[RedisServer]:
    """The Redis of the whole run; flush() it where a test needs it empty."""
    require(REDIS)
    with RedisServer(server_folder / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def nginx_binary() -> str:
    """The path of nginx; a test that uses support.nginx.Nginx asks for this fixture too."""
    require(NGINX)
    return path_of("nginx")


@pytest.fixture(scope="session")
def node_clients(server_folder: Path) -> Path:
    """A folder with the JavaScript clients and the packages that they use."""
    require(NODE)
    folder = server_folder / "clients"
    shutil.copytree(CLIENTS, folder)
    subprocess.run(
        [path_of("npm"), "ci", "--silent", "--no-audit", "--no-fund"],
        cwd=folder,
        check=True,
        timeout=120,
    )
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Debian's Chromium."""
    require(CHROMIUM)
    return path_of("chromium")


@pytest.fixture
def breakable_mariadb(mariadb: MariaDB) -> Iterator[MariaDB]:
    """The MariaDB of the whole run, brought back after a test that kills, stops or pauses it."""
    yield mariadb
    mariadb.ensure_running()


@pytest.fixture
def breakable_redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    """The Redis of the whole run, brought back after a test that kills, stops or pauses it."""
    yield redis_server
    redis_server.ensure_running()


def require(group: Group) -> None:
    """Skips the test where the group's programs are missing; fails it where CI is set."""
    missing = group.missing()
    if not missing:
        return
    reason = f"group {group.name} needs {', '.join(missing)}: {INSTALL}"
    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def in_ci() -> bool:
    """Tells whether this run must be complete."""
    return bool(os.environ.get("CI"))


def pytest_configure(config: pytest.Config) -> None:
    for fixture, group in GROUPS.items():
        config.addinivalue_line("markers", f"{fixture}: uses {group.name} (set by itself)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test with its groups, so that `-m "not mariadb"` leaves them out."""
    for item in items:
        for fixture in GROUPS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(fixture)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI set, turns a run in which anything was skipped into a failed one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        in_ci()
        and session.exitstatus == pytest.ExitCode.OK
        and reporter
        and reporter.stats.get("skipped")
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the groups that were skipped and the one command that would install what they need."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [re.search(r"group (\S+) needs ", str(report.longrepr)) for report in skipped]
    groups = sorted({reason[1] for reason in reasons if reason})
    if groups:
        terminalreporter.write_line(
            f"Skipped groups: {', '.join(groups)}. To run them: {INSTALL}", yellow=True
        )
    if skipped and in_ci():
        terminalreporter.write_line(
            f"CI is set, and {len(skipped)} tests were skipped: the run has failed.", red=True
        )
