"""Frontends of other origins: which browsers may call, and what they are told."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.frontends import FAST
from tests.infra.databases import migrated
from tests.support.client import Answer, Client
from tests.support.processes import HOST
from tests.support.redis import RedisServer
from tests.support.service import Service

APP = "https://app.example.com"
NOWHERE = 1  # a port on which nobody listens

OPERATIONS = [
    ("session", 0, "POST", "/login"),
    ("session", 0, "POST", "/signup"),
    ("session", 0, "GET", "/captcha"),
    ("session", 0, "GET", "/captcha/AAAAAAAAAAAAAAAAAAAAAA"),
    ("token", 0, "POST", "/api/register"),
    ("token", 0, "POST", "/api/login"),
    ("admin", 1, "POST", "/api/auth/login"),
    ("admin", 1, "POST", "/api/auth/register"),
    ("admin", 1, "POST", "/api/auth/createUser"),
    ("envelope", 1, "POST", "/api/register"),
    ("envelope", 1, "POST", "/api/login"),
]
LOCAL = [
    "http://localhost",
    "http://localhost:5173",
    "https://localhost:8443",
    "http://127.0.0.1:3000",
    "http://[::1]:8080",
]
LOOK_ALIKES = [
    "http://localhost.evil.com",
    "http://localhost:80.evil.com",
    "http://localhost:80@evil.com",
    "http://localhost:",
    "http://localhost:8080/",
    "http://localhost:8080\\.evil.com",
    "http://evil-localhost",
    "http://evil.localhost",
    "http://sub.localhost:8080",
    "http://127.0.0.1.evil.com",
    "http://127.0.0.10",
    "http://127a0b0c1",
    "http://[::1].evil.com",
    "xhttp://localhost",
    "ftp://localhost",
    "file://",
    "null",
    "https://evil.com",
]


@dataclass
class Origins:
    """A service's two ports, spoken to as a browser does."""

    service: Service

    def preflight(
        self, origin: str, port: int, method: str, path: str, headers: str = "content-type"
    ) -> Answer:
        return self._client(port).request(
            "OPTIONS",
            path,
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": headers,
            },
        )

    def request(self, origin: str, port: int, method: str, path: str) -> Answer:
        return self._client(port).request(method, path, headers={"Origin": origin})

    def _client(self, port: int) -> Client:
        return Client((self.service.first, self.service.second)[port])


@pytest.fixture(scope="module")
def development(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origins]:
    """The service as a developer runs it, with no origin set."""
    settings = {
        **FAST,
        "AUTHSVC_REDIS_URL": redis_server.url,
        "AUTHSVC_WORKERS": "1",
        "AUTHSVC_RATELIMIT_CAPTCHA": "1/minute",
    }
    redis_server.flush()
    service = Service(tmp_path_factory.mktemp("development"), settings)
    service.prepare()
    with migrated(f"sqlite:///{service.data / 'authsvc.sqlite3'}"):
        pass
    with service:
        yield Origins(service)


def in_production(folder_factory: pytest.TempPathFactory, **settings: str) -> Service:
    """Return a service in production, whose database and Redis are down."""
    outside = {
        "AUTHSVC_ENV": "production",
        "AUTHSVC_JWT_SECRET": "a secret for tests of more than 32 bytes",
        "AUTHSVC_DATABASE_URL": f"mysql+pymysql://nobody:nothing@{HOST}:{NOWHERE}/none",
        "AUTHSVC_REDIS_URL": f"redis://{HOST}:{NOWHERE}/0",
        "AUTHSVC_WORKERS": "1",
    }
    return Service(folder_factory.mktemp("production"), outside | settings)


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origins]:
    """The service in production, with no origin set."""
    with in_production(tmp_path_factory) as service:
        yield Origins(service)


@pytest.fixture(scope="module")
def with_origins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origins]:
    """The service in production, with two origins set."""
    origins = f"{APP}, http://10.0.0.1:8080"
    with in_production(tmp_path_factory, AUTHSVC_CORS_ORIGINS=origins) as service:
        yield Origins(service)


def assert_allowed(answer: Answer, origin: str) -> None:
    """Hold an answer to letting this origin, and no other, read it."""
    assert answer.headers.get_all("Access-Control-Allow-Origin") == [origin]
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def assert_not_allowed(answer: Answer) -> None:
    """Hold an answer to telling nothing that a browser would take for leave."""
    assert not [name for name in answer.headers if name.startswith("Access-Control-Allow")]


@pytest.mark.parametrize(
    ("dialect", "port", "method", "path"), OPERATIONS, ids=lambda value: str(value)
)
def test_a_preflight_is_answered_on_every_operation(
    development: Origins, dialect: str, port: int, method: str, path: str
) -> None:
    answer = development.preflight(LOCAL[1], port, method, path, "authorization,content-type")
    assert answer.status == 200
    assert answer.body == b""
    assert_allowed(answer, LOCAL[1])
    assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert allowed == ["authorization", "content-type"]
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


def test_a_preflight_allows_no_other_header(development: Origins) -> None:
    answer = development.preflight(LOCAL[1], 0, "POST", "/api/login", "content-type,x-evil")
    assert "evil" not in answer.headers["Access-Control-Allow-Headers"].lower()


@pytest.mark.parametrize("origin", LOCAL)
def test_development_allows_the_users_own_machine_on_any_port(
    development: Origins, origin: str
) -> None:
    assert_allowed(development.preflight(origin, 1, "POST", "/api/login"), origin)
    assert_allowed(development.request(origin, 1, "POST", "/api/login"), origin)


@pytest.mark.parametrize("origin", LOOK_ALIKES)
def test_development_allows_no_origin_that_only_looks_like_it(
    development: Origins, origin: str
) -> None:
    assert_not_allowed(development.preflight(origin, 0, "POST", "/login"))
    assert_not_allowed(development.request(origin, 0, "POST", "/login"))


@pytest.mark.parametrize(
    ("status", "port", "method", "path"),
    [
        (400, 0, "POST", "/login"),
        (400, 1, "POST", "/api/login"),
        (401, 1, "POST", "/api/auth/createUser"),
        (404, 0, "GET", "/nowhere"),
        (405, 1, "GET", "/api/login"),
        (500, 0, "GET", "/captcha/unknown"),
        (429, 0, "GET", "/captcha"),
        (200, 0, "GET", "/version"),
    ],
)
def test_errors_can_be_read_by_an_allowed_origin_too(
    development: Origins, status: int, port: int, method: str, path: str
) -> None:
    if status == 429:
        development.request(LOCAL[1], port, method, path)
    answer = development.request(LOCAL[1], port, method, path)
    assert answer.status == status
    assert_allowed(answer, LOCAL[1])
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Retry-After", "X-RateLimit-Remaining", "X-Request-ID"} <= set(exposed)


@pytest.mark.parametrize("origin", [*LOCAL, APP, "null"])
def test_production_allows_no_origin_that_was_not_set(production: Origins, origin: str) -> None:
    assert_not_allowed(production.preflight(origin, 0, "POST", "/login"))
    assert_not_allowed(production.request(origin, 1, "POST", "/api/login"))


def test_the_origins_that_were_set_are_allowed(with_origins: Origins) -> None:
    for origin in (APP, "http://10.0.0.1:8080"):
        assert_allowed(with_origins.preflight(origin, 1, "POST", "/api/login"), origin)
        answer = with_origins.request(origin, 0, "GET", "/captcha")
        assert answer.status == 500
        assert_allowed(answer, origin)


@pytest.mark.parametrize(
    "origin",
    [
        *LOCAL,
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.com",
        "https://appXexample.com",
        "https://evil.com/https://app.example.com",
        "https://sub.app.example.com",
        "http://10.0.0.1:80808",
        "http://10a0b0c1:8080",
        "null",
    ],
)
def test_no_other_origin_than_those_that_were_set_is_allowed(
    with_origins: Origins, origin: str
) -> None:
    assert_not_allowed(with_origins.preflight(origin, 1, "POST", "/api/login"))
    assert_not_allowed(with_origins.request(origin, 1, "POST", "/api/login"))
