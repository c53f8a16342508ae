"""The service that most faults happen to, and the table of what they made of it."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults import table
from tests.faults.trial import Fault, suffer
from tests.faults.world import World, database_for_service, names_in, served, service_on
from tests.support.mariadb import MariaDB
from tests.support.redis import RedisServer

DATABASE = "faults"
ROWS = pytest.StashKey[list[table.Row]]()


@pytest.fixture(scope="session")
def standing(
    mariadb: MariaDB,
    redis_server: RedisServer,
    nginx_binary: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """A service on MariaDB and Redis that stands through many faults."""
    folder = tmp_path_factory.mktemp("standing")
    url = database_for_service(mariadb, DATABASE)
    service = service_on(
        folder, {"AUTHSVC_DATABASE_URL": url, "AUTHSVC_REDIS_URL": redis_server.url}
    )
    service.migrate()
    with served(folder, service, names_in(mariadb, DATABASE)) as world:
        yield world


@pytest.fixture
def world(standing: World, breakable_redis: RedisServer, breakable_mariadb: MariaDB) -> World:
    """The standing service, well before each fault."""
    standing.ensure_running()
    return standing


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> Callable[[World, Fault], None]:
    """Let a fault happen to a service, write its row, and fail if anything is not as it must be."""

    def tried(world: World, fault: Fault) -> None:
        outcome = suffer(world, fault)
        request.config.stash[ROWS].append(outcome.row)
        if outcome.complaints:
            shown = "\n".join(outcome.complaints[:40])
            pytest.fail(f"{fault.name}: {len(outcome.complaints)} complaints\n{shown}", False)

    return tried


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table, and leave it in var/faults."""
    rows = config.stash[ROWS]
    if not rows:
        return
    written = table.markdown(rows)
    terminalreporter.section("faults, and what they made of sign-up traffic")
    terminalreporter.write_line(written)
    table.FILE.parent.mkdir(parents=True, exist_ok=True)
    table.FILE.write_text(written + "\n", encoding="utf-8")
