"""The network between the service and its stores is cut in the middle of sign-up traffic."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.faults.cut import Network
from tests.faults.network_faults import Cut
from tests.faults.trial import Fault
from tests.faults.world import World, database_for_service, names_in, served, service_on, witnesses
from tests.support.mariadb import MariaDB
from tests.support.redis import RedisServer

DATABASE = "far_away"
COMMIT = b"\x03COMMIT"
"""The command COM_QUERY of MySQL's protocol, and its text."""


@dataclass
class Far:
    """A service whose stores are reached over networks that can be cut."""

    world: World
    to_mariadb: Network
    to_redis: Network


@pytest.fixture(scope="module")
def far(
    mariadb: MariaDB,
    redis_server: RedisServer,
    nginx_binary: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Far]:
    folder = tmp_path_factory.mktemp("far")
    with Network(mariadb.port) as to_mariadb, Network(redis_server.port) as to_redis:
        service = service_on(
            folder,
            {
                "AUTHSVC_DATABASE_URL": database_for_service(mariadb, DATABASE, to_mariadb.port),
                "AUTHSVC_REDIS_URL": f"redis://127.0.0.1:{to_redis.port}/0",
            },
        )
        service.migrate()
        with served(folder, service, names_in(mariadb, DATABASE)) as world:
            yield Far(world, to_mariadb, to_redis)


def test_a_cut_network_to_mariadb_hangs_nobody_and_costs_no_user(
    far: Far, trial: Callable[[World, Fault], None]
) -> None:
    far.world.ensure_running()
    trial(far.world, Cut("MariaDB", far.to_mariadb, COMMIT))


def test_a_cut_network_to_redis_hangs_nobody_and_costs_no_user_and_no_session(
    far: Far, trial: Callable[[World, Fault], None]
) -> None:
    far.world.ensure_running()
    known = witnesses(far.world)
    trial(far.world, Cut("Redis", far.to_redis, b"GETDEL"))
    for witness in known:
        assert far.world.who_is(witness.token).status == 200
