"""config/nginx-ruoyi.conf: a RuoYi-Vue3 frontend, and under /prod-api the service it calls."""

import base64
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.frontends import FAST, PASSWORD, SOLUTION
from tests.support.client import Answer, Client
from tests.support.nginx import RUOYI_CONFIG, Nginx
from tests.support.processes import HOST
from tests.support.service import Service

PAGE = "<!doctype html><title>A frontend</title>"
SCRIPT = "export default 1"
BUSY = "系统繁忙，请稍后再试"


@pytest.fixture(scope="module")
def frontend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a build of the frontend leaves it."""
    folder = tmp_path_factory.mktemp("dist")
    (folder / "assets").mkdir()
    (folder / "index.html").write_text(PAGE, encoding="utf-8")
    (folder / "assets" / "index.js").write_text(SCRIPT, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service, as the head of the configuration says that it must be set."""
    env = {**FAST, "AUTHSVC_MOUNTS": "ruoyi=/", "AUTHSVC_TRUSTED_PROXIES": HOST}
    service = Service(tmp_path_factory.mktemp("ruoyi"), env)
    service.prepare()
    service.migrate()
    with service:
        yield service


def in_front_of(folder: Path, port: int, frontend: Path) -> Nginx:
    """Returns nginx that serves the frontend, and passes on to a port."""
    config = RUOYI_CONFIG.read_text(encoding="utf-8")
    moved = config.replace("root /srv/ruoyi/dist;", f"root {frontend};")
    assert moved != config
    return Nginx(folder, (port, port), moved)


@pytest.fixture(scope="module")
def nginx(
    nginx_binary: str,
    service: Service,
    frontend: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Nginx]:
    """nginx before the service."""
    with in_front_of(tmp_path_factory.mktemp("nginx"), service.ports[0], frontend) as nginx:
        yield nginx


@pytest.fixture
def client(nginx: Nginx) -> Client:
    """What a browser at the frontend's address sends."""
    return Client(nginx.first)


def says(answer: Answer, code: int, sentence: str) -> None:
    assert (answer.status, answer.json()) == (200, {"code": code, "msg": sentence})
    assert answer.headers["Content-Type"] == "application/json"


def filled_in(client: Client, username: str, **more: Any) -> dict[str, Any]:
    uuid = client.get("/prod-api/captchaImage").json()["uuid"]
    return {"username": username, "password": PASSWORD, "code": SOLUTION, "uuid": uuid, **more}


def test_a_person_registers_logs_in_and_comes_home_through_the_prefix(client: Client) -> None:
    picture = client.get("/prod-api/captchaImage").json()["img"]
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    form = filled_in(client, "ada", confirmPassword=PASSWORD)
    says(client.post("/prod-api/register", form), 200, "操作成功")
    token = client.post("/prod-api/login", filled_in(client, "ada")).json()["token"]
    with_token = {"Authorization": f"Bearer {token}"}
    info = client.get("/prod-api/getInfo", headers=with_token).json()
    assert (info["code"], info["user"]["userName"]) == (200, "ada")
    assert client.get("/prod-api/getRouters", headers=with_token).json()["data"] == []
    notices = client.get("/prod-api/system/notice/listTop", headers=with_token).json()
    assert (notices["data"], notices["unreadCount"]) == ([], 0)
    says(client.post("/prod-api/logout", headers=with_token), 200, "退出成功")
    gone = client.get("/prod-api/getInfo", headers=with_token)
    says(gone, 401, "请求访问：/getInfo，认证失败，无法访问系统资源")


@pytest.mark.parametrize("path", ["/", "/login", "/register", "/user/profile", "/index.html"])
def test_the_frontends_own_paths_are_its_one_page(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status, answer.text) == (200, PAGE)
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["Cache-Control"] == "no-cache"


def test_an_asset_is_served_by_its_type(client: Client) -> None:
    answer = client.get("/assets/index.js")
    assert (answer.status, answer.text) == (200, SCRIPT)
    assert answer.headers["Content-Type"] == "text/javascript"


def test_what_the_service_does_not_have_is_a_200_in_its_words(client: Client) -> None:
    says(client.get("/prod-api/monitor/online/list"), 500, "访问资源不存在")
    says(client.get("/prod-api/login"), 500, "请求方式不支持")


def test_a_body_that_is_too_large_is_a_200_in_the_services_words(client: Client) -> None:
    says(client.post("/prod-api/login", {"username": "x" * 70_000}), 500, "请求内容过大")


def test_an_unreadable_request_is_a_200_in_the_services_words(nginx: Nginx) -> None:
    for unreadable, sentence in (
        (b"GET /prod-api/captchaImage HTTP/1.1\r\n\r\n", "请求参数错误"),
        (b"get /prod-api/captchaImage HTTP/1.1\r\nHost: a\r\n\r\n", "请求参数错误"),
        (b"GET /prod-api/" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "请求参数错误"),
        (
            b"GET /prod-api/a HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
            "请求参数错误",
        ),
        (b"GET /prod-api/captchaImage HTTP/2.0\r\nHost: a\r\n\r\n", "请求参数错误"),
        (b"X /prod-api/captchaImage HTTP/1.1\r\nHost: a\r\n\r\n", "请求方式不支持"),
        (b"TRACE /prod-api/captchaImage HTTP/1.1\r\nHost: a\r\n\r\n", "请求方式不支持"),
        (b"CONNECT /prod-api/login HTTP/1.1\r\nHost: a\r\n\r\n", "请求方式不支持"),
        (
            b"POST /prod-api/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            "请求方式不支持",
        ),
    ):
        with socket.create_connection((HOST, nginx.ports[0]), timeout=15) as connection:
            connection.sendall(unreadable)
            connection.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), unreadable[:60]
        assert sentence in body.decode()


def test_a_service_that_is_gone_is_a_200_in_its_words(
    nginx_binary: str, frontend: Path, tmp_path: Path
) -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    with in_front_of(tmp_path, port, frontend) as nginx:
        client = Client(nginx.first)
        for method, path in (("GET", "captchaImage"), ("POST", "login"), ("GET", "getInfo")):
            says(client.request(method, f"/prod-api/{path}"), 500, BUSY)
        assert client.get("/login").text == PAGE


def test_the_real_client_is_told_to_the_service(nginx: Nginx, service: Service) -> None:
    forged = {"X-Forwarded-For": "203.0.113.9"}
    here, there = Client(nginx.first), Client(nginx.first, source="127.0.0.9")
    left = [
        client.get("/prod-api/captchaImage", headers=forged).headers["X-RateLimit-Remaining"]
        for client in (here, here, there)
    ]
    assert int(left[0]) - 1 == int(left[1])
    assert int(left[2]) > int(left[1])


def test_the_same_is_served_with_tls(nginx: Nginx) -> None:
    context = ssl.create_default_context(cafile=str(nginx.certificate))
    with (
        socket.create_connection((HOST, nginx.tls_ports[0]), timeout=15) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as connection,
    ):
        connection.sendall(b"GET /prod-api/captchaImage HTTP/1.0\r\nHost: a\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"Strict-Transport-Security: max-age=63072000" in received
    assert b'"captchaEnabled":true' in received
