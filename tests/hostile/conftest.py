"""A service as production runs it, bare and behind the repository's nginx, and one in process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dialects.situations import MOUNTS
from tests.dialects.stores import Stores
from tests.hostile.places import Place
from tests.support.nginx import Nginx
from tests.support.service import Service


@pytest.fixture(scope="session")
def stores(server_folder: Path) -> Iterator[Stores]:
    """The database and the Redis behind the services of these tests."""
    stores = Stores(server_folder / "hostile")
    stores.open()
    yield stores
    stores.close()


@pytest.fixture(scope="session")
def service(stores: Stores) -> Iterator[Service]:
    """The service, which believes the proxy on 127.0.0.1."""
    with stores.service("service", {"AUTHSVC_TRUSTED_PROXIES": "127.0.0.1"}) as service:
        yield service


@pytest.fixture(scope="session")
def ruoyi(stores: Stores) -> Iterator[Service]:
    """The service of a frontend whose document's paths are also those of another."""
    with stores.service("ruoyi", {"AUTHSVC_MOUNTS": MOUNTS["ruoyi"]}) as service:
        yield service


@pytest.fixture(scope="session")
def nginx(nginx_binary: str, server_folder: Path, service: Service) -> Iterator[Nginx]:
    """The repository's nginx in front of the service."""
    with Nginx(server_folder / "hostile-nginx", service.ports) as nginx:
        yield nginx


@pytest.fixture(scope="session")
def bare(service: Service) -> Place:
    """The service without anything in front of it."""
    return Place("gunicorn", *service.ports)


@pytest.fixture(scope="session")
def fronted(nginx: Nginx) -> Place:
    """The service behind nginx."""
    return Place("nginx", *nginx.ports)


@pytest.fixture(params=["bare", "fronted"])
def place(request: pytest.FixtureRequest) -> Place:
    """The service alone, and behind nginx."""
    place: Place = request.getfixturevalue(request.param)
    return place
