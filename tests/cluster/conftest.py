"""What stands on several machines elsewhere, here on one, for the whole run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.world import (
    DATABASE,
    ORDERS,
    World,
    folder_of,
    nginx_config,
    settings,
)
from tests.conftest import require
from tests.faults import table
from tests.faults.table import Row
from tests.infra.databases import migrated
from tests.support.binaries import CLUSTER
from tests.support.galera import Galera
from tests.support.nginx import Nginx
from tests.support.processes import wait_until
from tests.support.redis_cluster import RedisCluster
from tests.support.service import Service

FILE = Path(__file__).resolve().parents[2] / "var" / "cluster" / "table.md"
ROWS = pytest.StashKey[list[Row]]()
NOTES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def galera(server_folder: Path) -> Iterator[Galera]:
    """Three nodes of MariaDB, each with the same rows."""
    require(CLUSTER)
    with Galera(server_folder / "galera") as cluster:
        assert wait_until(cluster.is_whole, 10)
        cluster.create_database(DATABASE)
        with migrated(cluster.nodes[0].url(DATABASE)):
            pass
        yield cluster


@pytest.fixture(scope="session")
def redis_cluster(server_folder: Path) -> Iterator[RedisCluster]:
    """Three masters of Redis, and a replica of each."""
    require(CLUSTER)
    with RedisCluster(server_folder / "redis-cluster") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def running(galera: Galera, redis_cluster: RedisCluster, server_folder: Path) -> Iterator[World]:
    """Two nodes of the service on the clusters, and nginx in front of them."""
    first, second = (
        Service(folder_of(server_folder, n), settings(galera, redis_cluster, ORDERS[n]))
        for n in range(2)
    )
    nodes = (first, second)
    nginx = Nginx(server_folder / "nginx", first.ports, nginx_config(first.ports, second.ports))
    with first, second, nginx:
        yield World(galera, redis_cluster, nodes, nginx)


@pytest.fixture
def world(running: World) -> Iterator[World]:
    """Everything, whole and at work, and brought back after a test that breaks it."""
    running.ensure_running()
    yield running
    running.ensure_running()


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> list[Row]:
    """The rows of the table that is printed at the end."""
    return request.config.stash[ROWS]


@pytest.fixture
def notes(request: pytest.FixtureRequest) -> list[str]:
    """What is said below the table."""
    return request.config.stash[NOTES]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    config.stash[NOTES] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table, and leave it in var/cluster."""
    if not config.stash[ROWS]:
        return
    written = "\n".join([table.markdown(config.stash[ROWS]), "", *config.stash[NOTES]])
    terminalreporter.section("what was killed in the cluster, and what became of the traffic")
    terminalreporter.write_line(written)
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(written + "\n", encoding="utf-8")
