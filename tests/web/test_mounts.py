"""The table of mounts: what it refuses and why, who owns what, and that it can be rearranged."""

import json
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from authsvc import settings
from authsvc.app import create_app
from authsvc.infra.database import db
from authsvc.settings import SettingsError
from authsvc.web.mounts import (
    OWN_PATHS,
    Claim,
    Mount,
    MountError,
    MountTable,
    accepting_port,
    parse,
)
from tests.dialects import wire
from tests.support.client import Client
from tests.support.processes import free_ports
from tests.support.service import Service

DOCUMENTED = "session=/, token=/api, admin=/api/auth, envelope=:3000/api"

# What each dialect says to an empty object, an unknown path, and an unknown method.
SAYS = {
    "session": ("Invalid request", "Not found", "Method not allowed"),
    "token": ("Missing parameters", "Not found", "Method not allowed"),
    "admin": ("请填写所有必需字段", "接口不存在", "请求方法不允许"),
    "envelope": ("请求参数无效", "接口不存在", "请求方法不允许"),
}
KEYS = {
    "session": ["error"],
    "token": ["error"],
    "admin": ["message"],
    "envelope": ["success", "message", "statusCode", "errorCode"],
}


def table(text: str, ports: tuple[int | None, ...] = (8080, 3000)) -> MountTable:
    """Returns a table of mounts, read from text."""
    return MountTable(parse(text), ports)


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("text", "mounts"),
    [
        ("session=/", [Mount("session", "")]),
        ("token=/api", [Mount("token", "/api")]),
        ("token=/api/", [Mount("token", "/api")]),
        ("envelope=:3000/api", [Mount("envelope", "/api", 3000)]),
        ("envelope=:3000/", [Mount("envelope", "", 3000)]),
        (" a=/x ,b=/y,", [Mount("a", "/x"), Mount("b", "/y")]),
        ("a-b_2=/v1.0/~x/_", [Mount("a-b_2", "/v1.0/~x/_")]),
        ("a=:1/, a=:65535/", [Mount("a", "", 1), Mount("a", "", 65535)]),
    ],
)
def test_a_table_is_read(text: str, mounts: list[Mount]) -> None:
    assert list(parse(text)) == mounts


@pytest.mark.parametrize(
    "entry",
    [
        "session",
        "session=",
        "=/",
        "/api",
        "session:/",
        "session=api",
        "session=:/api",
        "session=:3000",
        "session=3000/api",
        "session=:x/api",
        "session=:-1/api",
        "session=:123456/api",
        "session=localhost:3000/api",
        "Session=/",
        "会话=/",
        "session=/a b",
        "session=/接口",
        "session=/a//b",
        "session=//",
        "session=/../b",
        "session=/a/./b",
        "session=/.well-known",
        "session=/<id>",
        "session=/a?b",
        "session=/%61",
        "session=/a;token=/b",
    ],
)
def test_an_entry_that_is_not_of_the_form_is_refused_by_name(entry: str) -> None:
    with pytest.raises(MountError) as refusal:
        parse(f"token=/fine, {entry}")
    assert f'"{entry}"' in str(refusal.value)
    assert "dialect=[:port]/prefix" in str(refusal.value)


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(MountError, match=rf'"session=:{port}/" names a port outside 1 to 65535'):
        parse(f"session=:{port}/")


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_a_table_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(MountError, match="names no mount"):
        parse(text)


@pytest.mark.parametrize("text", ["session=/", "token=/api", "envelope=:3000/api", "admin=:80/"])
def test_a_mount_is_written_as_it_is_read(text: str) -> None:
    [mount] = parse(text)
    assert str(mount) == text


# ---------------------------------------------------------------- owning


@pytest.mark.parametrize(
    ("port", "path", "owner"),
    [
        (8080, "/login", "session"),
        (8080, "/", "session"),
        (8080, "/apis/login", "session"),
        (8080, "/API/login", "session"),
        (8080, "/api", "token"),
        (8080, "/api/", "token"),
        (8080, "/api/login", "token"),
        (8080, "/api/authority", "token"),
        (8080, "/api/auth", "admin"),
        (8080, "/api/auth/login", "admin"),
        (3000, "/login", "session"),
        (3000, "/api/login", "envelope"),
        (3000, "/api", "envelope"),
        (3000, "/api/auth/login", "admin"),
        (None, "/api/login", "token"),
        (None, "/login", "session"),
        (9999, "/api/login", "token"),
    ],
)
def test_the_longest_prefix_owns_a_path_and_a_port_breaks_a_tie(
    port: int | None, path: str, owner: str
) -> None:
    mount = table(DOCUMENTED).owner(port, path)
    assert mount is not None
    assert mount.dialect == owner


@pytest.mark.parametrize("order", [DOCUMENTED, ", ".join(reversed(DOCUMENTED.split(", ")))])
def test_the_order_of_the_table_decides_nothing(order: str) -> None:
    owner = table(order).owner(3000, "/api/login")
    assert owner == Mount("envelope", "/api", 3000)


def test_a_longer_prefix_beats_a_port() -> None:
    mounts = table("token=:8080/api, admin=/api/auth")
    assert mounts.owner(8080, "/api/auth/login") == Mount("admin", "/api/auth")
    assert mounts.owner(3000, "/api/login") is None


def test_nobody_owns_a_path_outside_every_prefix() -> None:
    assert table("token=/api").owner(8080, "/login") is None


# ---------------------------------------------------------------- refusing, by the table alone


def claims(mount: Mount, *paths: str) -> list[Claim]:
    """Returns the claims of a mount to POST on paths below its prefix."""
    return [Claim(mount, "POST", mount.prefix + path) for path in paths]


def test_two_mounts_that_claim_the_same_port_method_and_path_are_refused_by_name() -> None:
    first, second = parse("token=/api, envelope=/api")
    with pytest.raises(MountError) as refusal:
        MountTable([first, second], [8080]).check(
            claims(first, "/login") + claims(second, "/login")
        )
    assert str(refusal.value) == '"token=/api" and "envelope=/api" both claim POST /api/login'


def test_the_names_of_variables_do_not_tell_two_paths_apart() -> None:
    first, second = parse("token=/api, envelope=/api")
    same = claims(first, "/captcha/<id>") + claims(second, "/captcha/<captcha_id>")
    with pytest.raises(MountError, match="both claim"):
        MountTable([first, second], [8080]).check(same)


def test_two_mounts_may_share_a_prefix_if_their_paths_or_methods_differ() -> None:
    first, second = parse("token=/api, envelope=/api")
    different = [*claims(first, "/login"), *claims(second, "/register")]
    MountTable([first, second], [8080]).check([*different, Claim(second, "GET", "/api/login")])


def test_a_mount_that_names_a_port_nobody_listens_on_is_refused_by_name() -> None:
    with pytest.raises(MountError) as refusal:
        table(DOCUMENTED, ports=(8080, 3001))
    assert str(refusal.value) == '"envelope=:3000/api" names port 3000, on which nobody listens'


def test_a_unix_socket_is_no_port_to_listen_on() -> None:
    with pytest.raises(MountError, match="on which nobody listens"):
        table("envelope=:3000/api", ports=(None,))
    assert table("envelope=/api", ports=(None,)).owner(None, "/api/login")


# ---------------------------------------------------------------- the port that accepted


class Accepted:
    """A socket's address family, which is all that is asked of it."""

    def __init__(self, family: socket.AddressFamily) -> None:
        self.family = family


def test_a_tcp_connection_has_the_port_that_accepted_it() -> None:
    assert accepting_port({"SERVER_PORT": "3000", "HTTP_HOST": "localhost:8080"}) == 3000
    inet = Accepted(socket.AF_INET6)
    assert accepting_port({"SERVER_PORT": "3000", "gunicorn.socket": inet}) == 3000


def test_a_unix_connection_has_no_port_whatever_the_host_says() -> None:
    unix = Accepted(socket.AF_UNIX)
    for port in ("3000", "", "evil"):
        assert accepting_port({"SERVER_PORT": port, "gunicorn.socket": unix}) is None


# ---------------------------------------------------------------- whole applications

Build = Callable[..., Flask]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """Builds applications as the environment describes them; nothing outside is needed."""
    apps: list[Flask] = []
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv("AUTHSVC_RATELIMIT_ENABLED", "off")
    monkeypatch.setenv("AUTHSVC_GUESS_LIMIT", "off")

    def make(mounts: str | None, bind: str = "127.0.0.1:8080, 127.0.0.1:3000") -> Flask:
        monkeypatch.setenv("AUTHSVC_BIND", bind)
        if mounts is None:
            monkeypatch.delenv("AUTHSVC_MOUNTS", raising=False)
        else:
            monkeypatch.setenv("AUTHSVC_MOUNTS", mounts)
        apps.append(create_app(settings.load()))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def who_answers(client: FlaskClient, port: int, path: str, host: str = "localhost") -> str:
    """Returns the dialect that answers an empty object, "404 of" the owner, or "nobody"."""
    answer = client.post(
        path, data="{}", content_type="application/json", base_url=f"http://{host}:{port}"
    )
    body = answer.get_json()
    sentence = body.get("message") or body["error"]
    return speaker(answer.status_code, sentence, list(body))


def speaker(status: int, sentence: str, keys: list[str]) -> str:
    """Returns the dialect of an answer to an empty object."""
    if status == 404:
        owners = [name for name in SAYS if (SAYS[name][1], KEYS[name]) == (sentence, keys[:4])]
        return f"404 of {'/'.join(owners)}"
    [dialect] = [name for name in SAYS if SAYS[name][0] == sentence]
    assert keys[:4] == KEYS[dialect]
    return dialect


ENGLISH_404 = "404 of session/token"


def test_by_default_every_documented_url_is_served(build: Build) -> None:
    client = build(None).test_client()
    assert who_answers(client, 8080, "/login") == "session"
    assert who_answers(client, 8080, "/signup") == "session"
    assert who_answers(client, 8080, "/api/register") == "token"
    assert who_answers(client, 8080, "/api/login") == "token"
    assert who_answers(client, 3000, "/api/auth/login") == "admin"
    assert who_answers(client, 3000, "/api/auth/register") == "admin"
    assert who_answers(client, 3000, "/api/register") == "envelope"
    assert who_answers(client, 3000, "/api/login") == "envelope"


def test_by_default_the_second_port_is_the_envelopes_whatever_its_number(build: Build) -> None:
    client = build(None, bind="127.0.0.1:18080, [::1]:18080, 127.0.0.1:13000").test_client()
    assert who_answers(client, 18080, "/api/login") == "token"
    assert who_answers(client, 13000, "/api/login") == "envelope"


def test_by_default_one_port_serves_all_but_the_envelope(build: Build) -> None:
    client = build(None, bind="127.0.0.1:8080").test_client()
    assert who_answers(client, 8080, "/api/login") == "token"
    assert who_answers(client, 8080, "/api/auth/login") == "admin"


@pytest.mark.parametrize("dialect", SAYS)
@pytest.mark.parametrize("prefix", ["/", "/moved", "/a/long/way.down/v2"])
def test_a_dialect_can_be_moved_and_be_alone(dialect: str, prefix: str, build: Build) -> None:
    client = build(f"{dialect}={prefix}").test_client()
    for port in (8080, 3000):
        assert who_answers(client, port, f"{prefix.rstrip('/')}/login") == dialect
        if prefix != "/":
            assert who_answers(client, port, "/login") == ENGLISH_404


@pytest.mark.parametrize("dialect", SAYS)
def test_a_dialect_can_be_dropped(dialect: str, build: Build) -> None:
    kept = [mount for mount in DOCUMENTED.split(", ") if not mount.startswith(dialect)]
    client = build(", ".join(kept)).test_client()
    answers = {
        "session": who_answers(client, 8080, "/login"),
        "token": who_answers(client, 8080, "/api/login"),
        "admin": who_answers(client, 3000, "/api/auth/login"),
        "envelope": who_answers(client, 3000, "/api/login"),
    }
    instead = {
        "session": ENGLISH_404,
        "token": ENGLISH_404,
        "admin": "404 of envelope",
        "envelope": "token",
    }
    assert answers == {name: name for name in SAYS} | {dialect: instead[dialect]}


@pytest.mark.parametrize("dialect", SAYS)
def test_a_dialect_can_be_doubled(dialect: str, build: Build) -> None:
    client = build(f"{dialect}=/one, {dialect}=/two, {dialect}=:3000/three").test_client()
    for port in (8080, 3000):
        assert who_answers(client, port, "/one/login") == dialect
        assert who_answers(client, port, "/two/login") == dialect
    assert who_answers(client, 3000, "/three/login") == dialect
    assert who_answers(client, 8080, "/three/login") == ENGLISH_404


@pytest.mark.parametrize("dialect", SAYS)
def test_a_dialect_can_be_given_another_port(dialect: str, build: Build) -> None:
    client = build(f"{dialect}=:8080/api").test_client()
    assert who_answers(client, 8080, "/api/login") == dialect
    assert who_answers(client, 3000, "/api/login") == ENGLISH_404


@pytest.mark.parametrize("first", SAYS)
@pytest.mark.parametrize("second", SAYS)
def test_any_two_dialects_can_share_a_prefix_on_two_ports(
    first: str, second: str, build: Build
) -> None:
    client = build(f"{first}=:8080/same, {second}=:3000/same").test_client()
    assert who_answers(client, 8080, "/same/login") == first
    assert who_answers(client, 3000, "/same/login") == second


def test_a_mount_that_another_hides_on_one_port_is_served_on_the_other(build: Build) -> None:
    client = build("session=/, token=:8080/").test_client()
    assert who_answers(client, 8080, "/login") == "token"
    assert who_answers(client, 8080, "/signup") == ENGLISH_404
    assert who_answers(client, 3000, "/login") == "session"
    assert who_answers(client, 3000, "/signup") == "session"


@pytest.mark.parametrize(
    ("path", "port", "owner"),
    [
        ("/nothing", 8080, "session"),
        ("/captcha/", 8080, "session"),
        ("/api", 8080, "token"),
        ("/api/nothing", 8080, "token"),
        ("/api/login/", 8080, "token"),
        ("/api/auth", 3000, "admin"),
        ("/api/auth/nothing", 8080, "admin"),
        ("/api/nothing", 3000, "envelope"),
    ],
)
def test_what_is_not_found_is_told_by_the_owner_of_the_path(
    path: str, port: int, owner: str, build: Build
) -> None:
    answer = build(None).test_client().get(path, base_url=f"http://localhost:{port}")
    body = answer.get_json()
    assert answer.status_code == 404
    assert list(body) == KEYS[owner]
    assert SAYS[owner][1] in body.values()


@pytest.mark.parametrize(
    ("path", "port", "owner"),
    [
        ("/login", 8080, "session"),
        ("/api/login", 8080, "token"),
        ("/api/auth/createUser", 8080, "admin"),
        ("/api/login", 3000, "envelope"),
    ],
)
def test_a_method_that_is_not_there_is_told_by_the_owner_of_the_path(
    path: str, port: int, owner: str, build: Build
) -> None:
    answer = build(None).test_client().delete(path, base_url=f"http://localhost:{port}")
    body = answer.get_json()
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "OPTIONS, POST"
    assert list(body) == KEYS[owner]
    assert SAYS[owner][2] in body.values()


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/", 404, "Not found"),
        ("GET", "/login", 404, "Not found"),
        ("GET", "/apis", 404, "Not found"),
        ("GET", "/version/x", 404, "Not found"),
        ("POST", "/version", 405, "Method not allowed"),
    ],
)
def test_elsewhere_the_answer_is_a_plain_error(
    method: str, path: str, status: int, sentence: str, build: Build
) -> None:
    client = build("envelope=/api").test_client()
    answer = client.open(path, method=method, base_url="http://localhost:8080")
    assert (answer.status_code, answer.get_json()) == (status, {"error": sentence})


@pytest.mark.parametrize("path", ["/version/x", "/docs/x", "/livez/more", "/openapi/x"])
def test_the_services_own_paths_are_no_dialects_even_under_a_mount_of_all(
    path: str, build: Build
) -> None:
    answer = build("envelope=/").test_client().get(path, base_url="http://localhost:8080")
    body = answer.get_json()
    assert answer.status_code == 404
    assert list(body) == ["error"]


@pytest.mark.parametrize(
    "host", ["localhost:3000", "127.0.0.1:3000", "any!api", "3000!api.authsvc", "x", "a b", ""]
)
def test_the_clients_host_never_decides(host: str, build: Build) -> None:
    client = build(None).test_client()
    headers = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-Port": "3000"}
    answer = client.post(
        "/api/login", json={}, headers=headers, environ_overrides={"SERVER_PORT": "8080"}
    )
    assert answer.get_json() == {"error": "Missing parameters"}


# ---------------------------------------------------------------- refusing, at start

REFUSED = {
    "two dialects on one path": (
        "token=/api, envelope=/api",
        ['"token=/api"', '"envelope=/api"', "both claim", "/api/"],
    ),
    "two dialects on one port and path": (
        "token=:3000/api, session=/, envelope=:3000/api",
        ['"token=:3000/api"', '"envelope=:3000/api"', "both claim"],
    ),
    "one dialect twice in one place": (
        "admin=/api/auth, admin=/api/auth",
        ['"admin=/api/auth" and "admin=/api/auth"', "both claim"],
    ),
    "one place in two writings": (
        "admin=/api, token=/api/",
        ['"admin=/api"', '"token=/api"', "both claim"],
    ),
    "hidden on every port by two mounts": (
        "token=/api, admin=:8080/api, envelope=:3000/api",
        ['"token=/api"', '"admin=:8080/api"', "hides on every port"],
    ),
    "one path hidden by a longer prefix": (
        "session=/, token=/captcha",
        ['"session=/"', "GET /captcha", '"token=/captcha"', "hides on every port"],
    ),
    "hidden on its only port": (
        "token=:8080/api, admin=:8080/api/login",
        ['"token=:8080/api"', "POST /api/login", '"admin=:8080/api/login"', "hides on every port"],
    ),
    "a port nobody listens on": (
        "session=/, envelope=:3001/api",
        ['"envelope=:3001/api"', "3001", "nobody listens"],
    ),
    "an unknown dialect": (
        "session=/, gitea=/api",
        ['"gitea=/api"', "names no dialect", "session, token, admin, envelope"],
    ),
    "no dialect=/prefix": ("session", ['"session"', "dialect=[:port]/prefix"]),
    "nothing but a comma": (",", ["names no mount"]),
}


@pytest.mark.parametrize(("mounts", "words"), REFUSED.values(), ids=REFUSED)
def test_a_table_that_cannot_be_served_is_refused_and_both_parties_are_named(
    mounts: str, words: list[str], build: Build
) -> None:
    with pytest.raises(SettingsError) as refusal:
        build(mounts)
    [fault] = refusal.value.faults
    assert fault.startswith("AUTHSVC_MOUNTS: ")
    assert [word for word in words if word not in fault] == [], fault


@pytest.mark.parametrize("own", [path for path in OWN_PATHS if not path.startswith("/.")])
@pytest.mark.parametrize("below", ["", "/v2"])
def test_a_mount_on_a_path_of_the_services_own_is_refused_and_both_are_named(
    own: str, below: str, build: Build
) -> None:
    with pytest.raises(SettingsError) as refusal:
        build(f"session=/, token={own}{below}")
    [fault] = refusal.value.faults
    assert f'"token={own}{below}"' in fault
    assert f"{own} is a path of the service's own" in fault


@pytest.mark.parametrize("own", OWN_PATHS)
def test_no_claim_on_a_path_of_the_services_own_is_kept(own: str) -> None:
    mount = Mount("session", "")
    with pytest.raises(MountError) as refusal:
        MountTable([mount], [8080]).check([Claim(mount, "GET", own)])
    assert f'"session=/" claims GET {own}' in str(refusal.value)


@pytest.mark.parametrize("mounts", ["token=/docsearch", "token=/versions", "token=/api/docs"])
def test_a_path_that_only_looks_like_the_services_own_is_free(mounts: str, build: Build) -> None:
    client = build(mounts).test_client()
    assert who_answers(client, 8080, mounts.removeprefix("token=") + "/login") == "token"


def test_an_empty_table_is_refused(build: Build) -> None:
    with pytest.raises(SettingsError, match="AUTHSVC_MOUNTS: choose the dialects"):
        build("")


def test_gunicorn_does_not_start_with_a_table_that_cannot_be_served(tmp_path: Path) -> None:
    service = Service(tmp_path, {"AUTHSVC_MOUNTS": "token=/api, envelope=/api"})
    run = service.flask("--help")
    assert run.returncode == 1
    assert '"token=/api" and "envelope=/api" both claim POST /api/' in run.stderr
    assert "Traceback" not in run.stderr


# ---------------------------------------------------------------- served for real


@pytest.fixture(scope="module")
def rearranged() -> Iterator[tuple[Service, str]]:
    """A service with every dialect moved, doubled or on another port, on a unix socket too."""
    with tempfile.TemporaryDirectory(prefix="authsvc-mounts-") as folder:
        path = f"{folder}/http.sock"
        first, second = free_ports(2)
        env = {
            "AUTHSVC_BIND": f"127.0.0.1:{first},127.0.0.1:{second},unix:{path}",
            "AUTHSVC_MOUNTS": (
                f"token=/, session=:{first}/old, session=/session, admin=:{second}/api, "
                f"envelope=:{first}/api, envelope=/v2"
            ),
            "AUTHSVC_RATELIMIT_ENABLED": "off",
            "AUTHSVC_GUESS_LIMIT": "off",
            "AUTHSVC_WORKERS": "1",
        }
        with Service(Path(folder), env, ports=(first, second)) as service:
            yield service, path


@pytest.mark.parametrize(
    ("path", "on_first", "on_second"),
    [
        ("/login", "token", "token"),
        ("/session/login", "session", "session"),
        ("/old/login", "session", ENGLISH_404),
        ("/api/login", "envelope", "admin"),
        ("/v2/login", "envelope", "envelope"),
        ("/api/auth/login", "404 of envelope", "404 of admin"),
    ],
)
def test_a_rearranged_table_is_served(
    path: str, on_first: str, on_second: str, rearranged: tuple[Service, str]
) -> None:
    service, _ = rearranged
    for base, expected in ((service.first, on_first), (service.second, on_second)):
        answer = Client(base).post(path, {})
        body = answer.json()
        said = speaker(answer.status, body.get("message") or body["error"], list(body))
        assert said == expected


@pytest.mark.parametrize("host", ["localhost", "localhost:{first}", "x:{second}", "x:port", ""])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/login", "token"),
        ("/session/login", "session"),
        ("/v2/login", "envelope"),
        ("/old/login", ENGLISH_404),
        ("/api/login", ENGLISH_404),
    ],
)
def test_a_unix_socket_reaches_portless_mounts_only_whatever_the_host_says(
    path: str, expected: str, host: str, rearranged: tuple[Service, str]
) -> None:
    service, unix_socket = rearranged
    first, second = service.ports
    headers = [f"Host: {host.format(first=first, second=second)}", wire.JSON]
    answer = wire.exchange(unix_socket, wire.message("POST", path, headers, b"{}"))
    body = json.loads(answer.body)
    sentence = body.get("message") or body["error"]
    assert speaker(answer.status, sentence, list(body)) == expected
