"""Real services over shared stores, for every test of a dialect."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dialects.pages import PASSWORD, TOKEN_LOGIN, TOKEN_REGISTER, fresh_name, send, token_of
from tests.dialects.situations import MOUNTS
from tests.dialects.stores import Stores
from tests.support.service import Service

Serve = Callable[..., Service]

# A whole test run fits into a day, so that one request uses a limit up.
SCARCE = {
    "AUTHSVC_RATELIMIT_ENABLED": "on",
    **{
        f"AUTHSVC_RATELIMIT_{name}": "1/day"
        for name in ("LOGIN", "LOGIN_PAIR", "SIGNUP", "CAPTCHA", "PASSWORD")
    },
}


SQLITE = "sqlite"
MARIADB = pytest.param("mariadb", marks=pytest.mark.mariadb)
ON_BOTH = ("test_native", "test_ruoyi", "test_clients", "test_new_dialect")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs whole ways through the service on both databases, the documents' words on one."""
    if "stores" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition(".")[2]
        databases = [SQLITE, MARIADB] if module.startswith(ON_BOTH) else [SQLITE]
        metafunc.parametrize("stores", databases, indirect=True, scope="session")


@pytest.fixture(scope="session")
def stores(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[Stores]:
    """The database and the Redis behind all services of these tests."""
    url = None
    if request.param != SQLITE:
        url = request.getfixturevalue("mariadb").create_database()
    stores = Stores(server_folder / f"dialects-{request.param}", url)
    stores.open()
    yield stores
    stores.close()


@pytest.fixture(scope="session")
def serve(stores: Stores) -> Iterator[Serve]:
    """Starts services that run until the end; then all are told to stop before any is awaited."""
    services: list[Service] = []

    def start(name: str, env: dict[str, str] | None = None) -> Service:
        services.append(stores.service(name, env).start())
        return services[-1]

    yield start
    for service in services:
        os.kill(service.pid, signal.SIGTERM)
    for service in services:
        service.stop()


@pytest.fixture(scope="session")
def service(serve: Serve) -> Service:
    """The service as it is by default: sign-up through `session` asks for a captcha."""
    return serve("service")


@pytest.fixture(scope="session")
def older_edition(serve: Serve) -> Service:
    """The service that speaks the older edition of the session document."""
    return serve("older-edition", {"AUTHSVC_SIGNUP_CAPTCHA": "off"})


@pytest.fixture(scope="session")
def limited(serve: Serve) -> Service:
    """The service with limits that one request uses up."""
    return serve("limited", SCARCE)


@pytest.fixture(scope="session")
def limited_older_edition(serve: Serve) -> Service:
    """The older edition with limits that one request uses up."""
    return serve("limited-older-edition", SCARCE | {"AUTHSVC_SIGNUP_CAPTCHA": "off"})


@pytest.fixture(scope="session")
def service_with(serve: Serve) -> Callable[..., Service]:
    """Returns the service with these settings, which is started when it is asked for first."""
    services: dict[frozenset[tuple[str, str]], Service] = {}

    def with_settings(env: dict[str, str], *, limited: bool = False) -> Service:
        settings = SCARCE | env if limited else env
        key = frozenset(settings.items())
        if key not in services:
            services[key] = serve(f"service-with-{len(services)}", settings)
        return services[key]

    return with_settings


@pytest.fixture(scope="session")
def ruoyi(service_with: Callable[..., Service]) -> Service:
    """The service of a RuoYi-Vue3 frontend, which two other documents share."""
    return service_with({"AUTHSVC_MOUNTS": MOUNTS["ruoyi"]})


@pytest.fixture
def administrator(service: Service, stores: Stores) -> str:
    """The access token of an administrator with permission 1."""
    name = fresh_name("boss")
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    assert send(service, TOKEN_REGISTER, body).status == 201
    stores.promote(name)
    return token_of(send(service, TOKEN_LOGIN, body))
