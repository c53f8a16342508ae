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
from tests.infra.databases import migrated
from tests.support.binaries import CLUSTER
from tests.support.galera import Galera
from tests.support.nginx import Nginx
from tests.support.processes import wait_until
from tests.support.redis_cluster import RedisCluster
from tests.support.service import Service


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
    nginx = Nginx(server_folder / "nginx", first.ports, nginx_config(nodes))
    with first, second, nginx:
        yield World(galera, redis_cluster, nodes, (nginx.first, nginx.second))


@pytest.fixture
def world(running: World) -> Iterator[World]:
    """Everything, whole and at work, and brought back after a test that breaks it."""
    running.ensure_running()
    yield running
    running.ensure_running()
