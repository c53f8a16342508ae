"""Pages of other origins: every path of every dialect, whatever it answers, can be read by them."""

from collections.abc import Iterator

import pytest

from authsvc import dialects
from authsvc.web.mounts import parse
from authsvc.web.openapi.document import operations_of
from tests.e2e.frontends import FAST, new_address
from tests.e2e.test_cors import (
    APP,
    Origins,
    assert_allowed,
    assert_not_allowed,
    in_production,
)
from tests.infra.databases import migrated
from tests.support.client import Answer, Client
from tests.support.nginx import CONFIG, Nginx
from tests.support.redis import RedisServer
from tests.support.service import Service

FOREIGN = "https://evil.example"
MOUNTS = [
    (mount, 0 if mount.port is None else 1)
    for mount in parse("session=/, token=/api, admin=/api/auth, native=/v1, envelope=:3000/api")
]
OPERATIONS = [
    (port, method, f"{mount.prefix}{path}".replace("{", "").replace("}", ""))
    for mount, port in MOUNTS
    for method, path, _, _ in operations_of(dialects.REGISTRY[mount.dialect])
]
NOWHERE = [
    (port, "POST", f"{mount.prefix}/{path}")
    for mount, port in MOUNTS
    for path in ("nowhere", "login/", "no/where/at/all")
] + [(0, "GET", "/openapi/nobody.json"), (0, "POST", "/livez/x"), (1, "GET", "/%00")]
WRONG_METHOD = [
    (0, "DELETE", "/login"),
    (0, "PUT", "/captcha"),
    (0, "GET", "/api/login"),
    (1, "GET", "/api/auth/createUser"),
    (1, "PATCH", "/api/register"),
    (0, "PUT", "/v1/me"),
    (0, "POST", "/livez"),
    (1, "DELETE", "/openapi"),
]
OWN = [
    (0, "GET", path)
    for path in (
        "/livez",
        "/readyz",
        "/metrics",
        "/version",
        "/openapi",
        "/openapi/session.json",
        "/.well-known/jwks.json",
        "/docs",
        "/demo",
    )
]
EVERYWHERE = [*OPERATIONS, *NOWHERE, *WRONG_METHOD, *OWN]

Place = tuple[int, str, str]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origins]:
    """The service in production for one origin, its database and Redis down."""
    with in_production(tmp_path_factory, AUTHSVC_CORS_ORIGINS=APP) as service:
        yield Origins(service)


@pytest.fixture(scope="module")
def whole(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origins]:
    """The service with all that it stands on, for one origin, with limits soon used up."""
    limits = ("LOGIN", "LOGIN_PAIR", "SIGNUP", "CAPTCHA", "CAPTCHA_AUDIO", "REFRESH", "PASSWORD")
    settings = {
        **FAST,
        **{f"AUTHSVC_RATELIMIT_{name}": "2/day" for name in limits},
        "AUTHSVC_REDIS_URL": redis_server.url,
        "AUTHSVC_WORKERS": "1",
        "AUTHSVC_CORS_ORIGINS": APP,
    }
    redis_server.flush()
    service = Service(tmp_path_factory.mktemp("whole"), settings)
    service.prepare()
    with migrated(f"sqlite:///{service.data / 'authsvc.sqlite3'}"):
        pass
    with service:
        yield Origins(service)


@pytest.fixture(scope="module", params=["whole", "broken"])
def origins(request: pytest.FixtureRequest) -> Origins:
    """Both."""
    found: Origins = request.getfixturevalue(request.param)
    return found


def sent(origins: Origins, place: Place, origin: str | None = APP) -> Answer:
    """Send a request with an empty object, or no body, as a page of this origin."""
    port, method, path = place
    client = Client((origins.service.first, origins.service.second)[port])
    headers = {} if origin is None else {"Origin": origin}
    if method in ("GET", "HEAD"):
        return client.request(method, path, headers=headers)
    return client.request(method, path, json={}, headers=headers)


def assert_readable(answer: Answer) -> None:
    """Hold an answer to being readable by the page of the origin, and by it alone."""
    assert_allowed(answer, APP)
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert exposed == [
        "Retry-After",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
        "X-Request-ID",
    ]


def named(place: Place) -> str:
    """Return what a test of a place is called."""
    port, method, path = place
    return f"{(8080, 3000)[port]}-{method}-{path}"


@pytest.mark.parametrize("place", EVERYWHERE, ids=named)
def test_a_preflight_is_answered_everywhere(origins: Origins, place: Place) -> None:
    port, method, path = place
    for asked in ("content-type", "authorization,content-type,x-csrf-token"):
        answer = origins.preflight(APP, port, method, path, asked)
        assert (answer.status, answer.body) == (200, b"")
        assert_readable(answer)
        assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
        allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert sorted(allowed) == asked.split(",")
        assert answer.headers["Access-Control-Max-Age"] == "600"
        assert "X-RateLimit-Limit" not in answer.headers


@pytest.mark.parametrize("place", EVERYWHERE, ids=named)
def test_every_answer_can_be_read_whatever_it_is(origins: Origins, place: Place) -> None:
    assert_readable(sent(origins, place))


@pytest.mark.parametrize("place", EVERYWHERE, ids=named)
def test_a_foreign_origin_is_told_nothing_and_caches_are_told_to_tell_apart(
    origins: Origins, place: Place
) -> None:
    port, method, path = place
    answers = [
        origins.preflight(FOREIGN, port, method, path),
        sent(origins, place, FOREIGN),
        sent(origins, place, None),
    ]
    for answer in answers:
        assert_not_allowed(answer)
        assert "Access-Control-Expose-Headers" not in answer.headers
        assert "Origin" in ", ".join(answer.headers.get_all("Vary") or ()).split(", ")


def test_dead_stores_are_met_in_every_way(broken: Origins) -> None:
    """The tests above have held these statuses to the same."""
    statuses = {sent(broken, place).status for place in EVERYWHERE}
    assert statuses >= {200, 400, 401, 404, 405, 500, 503}


@pytest.mark.parametrize("port", [0, 1])
@pytest.mark.parametrize("path", ["/api/login", "/login", "/api/auth/login", "/v1/login"])
def test_413_and_415_can_be_read(whole: Origins, port: int, path: str) -> None:
    client = Client((whole.service.first, whole.service.second)[port], source=new_address())
    form = {"Origin": APP, "Content-Type": "text/plain"}
    for status, body in ((413, b" " * 66_000), (415, b"x=1")):
        headers = form if status == 415 else form | {"Content-Type": "application/json"}
        answer = client.request("POST", path, body=body, headers=headers)
        assert answer.status == status
        assert_readable(answer)


@pytest.mark.parametrize(
    ("port", "method", "path"),
    [
        (0, "GET", "/captcha"),
        (0, "POST", "/api/login"),
        (1, "POST", "/api/auth/register"),
        (1, "POST", "/api/login"),
        (0, "POST", "/v1/login"),
    ],
)
def test_preflights_are_never_counted_and_429_can_be_read(
    whole: Origins, port: int, method: str, path: str
) -> None:
    for _ in range(4):
        answer = sent(whole, (port, method, path))
    assert answer.status == 429
    assert_readable(answer)
    assert int(answer.headers["Retry-After"]) > 0
    for _ in range(4):
        preflight = whole.preflight(APP, port, method, path)
        assert preflight.status == 200
        assert "Retry-After" not in preflight.headers


def test_a_preflight_leaves_the_whole_limit_to_what_follows(whole: Origins) -> None:
    client = Client(whole.service.first, source=new_address())
    asks = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    for _ in range(5):
        assert client.request("OPTIONS", "/captcha", headers=asks).status == 200
    left = client.get("/captcha", headers={"Origin": APP}).headers["X-RateLimit-Remaining"]
    assert left == "1"


@pytest.mark.parametrize("path", ["/captcha", "/captcha/x", "/version", "/nowhere", "/v1/nowhere"])
def test_head_is_answered_like_get(origins: Origins, path: str) -> None:
    answer = sent(origins, (0, "HEAD", path))
    assert answer.body == b""
    assert_readable(answer)


def test_options_that_is_no_preflight_is_not_found_where_nothing_is(whole: Origins) -> None:
    client = Client(whole.service.first)
    for headers in ({}, {"Origin": APP}, {"Access-Control-Request-Method": "POST"}):
        assert client.request("OPTIONS", "/nowhere", headers=headers).status == 404


@pytest.mark.usefixtures("nginx_binary")
def test_what_nginx_answers_itself_can_be_read_too(
    whole: Origins, tmp_path_factory: pytest.TempPathFactory
) -> None:
    written = CONFIG.read_text(encoding="utf-8")
    config = written.replace(f'#"{APP}"', f'"{APP}"')
    assert config != written
    ports = whole.service.ports
    with Nginx(tmp_path_factory.mktemp("nginx"), ports, config) as nginx:
        for port, path in ((0, "/login"), (0, "/v1/login"), (1, "/api/login")):
            client = Client((nginx.first, nginx.second)[port])
            for origin in (APP, FOREIGN):
                headers = {"Origin": origin, "Content-Type": "application/json"}
                answer = client.request("POST", path, body=b" " * 70_000, headers=headers)
                assert answer.status == 413
                assert "Origin" in (answer.headers.get_all("Vary") or ())
                told = answer.headers.get_all("Access-Control-Allow-Origin")
                assert told == ([APP] if origin == APP else None)


def test_all_origins_are_told_apart_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    with in_production(tmp_path_factory, AUTHSVC_CORS_ORIGINS="*") as service:
        for origin in (APP, FOREIGN):
            assert_allowed(sent(Origins(service), (0, "POST", "/login"), origin), origin)
