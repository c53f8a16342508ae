"""What an operator has beside the service: `make smoke`, and nginx's own answers."""

import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server, socket
from threading import Thread

import pytest

from authsvc.dialects.native.problems import PROBLEMS
from tests.support.client import Answer, Client
from tests.support.nginx import CONFIG, Nginx
from tests.support.processes import HOST, free_ports
from tests.support.service import ROOT

NEEDED = {
    "BASE_8080": "http://127.0.0.1:8080",
    "BASE_3000": "http://127.0.0.1:3000",
    "AUTHSVC_CAPTCHA_TEST_VALUE": "hidden-value",
    "ADMIN_NAME": "root",
    "AUTHSVC_ADMIN_PASSWORD": "hidden-password",
}
FIRST, SECOND = 0, 1  # the two addresses: what the documents call port 8080, and port 3000

# --- make smoke ---


class Wrong(BaseHTTPRequestHandler):
    """Answers every request with the status that its server names."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"success":true}'
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def wrong() -> Iterator[ThreadingHTTPServer]:
    """A server that gives wrong answers."""
    with ThreadingHTTPServer((HOST, 0), Wrong) as server:
        server.status = 200  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def smoke(**variables: str | None) -> subprocess.CompletedProcess[str]:
    """Run `make smoke` against a running service, with some variables changed or left out."""
    given = {name: value for name, value in {**NEEDED, **variables}.items() if value is not None}
    inherited = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        ["make", "--no-print-directory", "smoke"],
        cwd=ROOT,
        env=inherited | given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", NEEDED)
def test_smoke_names_the_variable_that_it_needs_for_a_running_service(name: str) -> None:
    run = smoke(**{name: None})
    assert run.returncode == 2
    assert run.stderr.splitlines()[0] == f"smoke: to ask a running service, set {name} too"


def test_smoke_names_the_first_difference_and_tells_no_secret(wrong: ThreadingHTTPServer) -> None:
    base = f"http://{HOST}:{wrong.server_port}"
    run = smoke(BASE_8080=base, BASE_3000=base, SIGNUP_CAPTCHA="off")
    assert run.returncode != 0
    told = run.stderr
    assert f"asked:    POST {base}/api/register " in told
    assert (
        'expected: 200 application/json {"success":true,"message":"注册成功","statusCode":200}'
        in told
    )
    assert 'came:     200 application/json {"success":true}' in told
    assert "smoke: 0 passed, 1 failed" in told
    assert "hidden" not in told + run.stdout


def test_smoke_explains_that_requests_are_limited(wrong: ThreadingHTTPServer) -> None:
    wrong.status = 429  # type: ignore[attr-defined]
    base = f"http://{HOST}:{wrong.server_port}"
    run = smoke(BASE_8080=base, BASE_3000=base)
    assert run.returncode != 0
    assert "AUTHSVC_RATELIMIT_ENABLED=off" in run.stderr


# --- nginx's own answers ---


@pytest.fixture(scope="module")
def without_service(
    nginx_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, Client]]:
    """Clients of nginx with nothing behind it."""
    first, second = free_ports(2)
    with Nginx(tmp_path_factory.mktemp("nginx"), (first, second)) as nginx:
        yield Client(nginx.first), Client(nginx.second)


def envelope(status: int, message: str, code: str) -> str:
    """Return an answer of the envelope."""
    return f'{{"success":false,"message":"{message}","statusCode":{status},"errorCode":"{code}"}}'


def assert_says(answer: Answer, status: int, text: str) -> None:
    """Compare a whole answer."""
    assert (answer.status, answer.headers["Content-Type"], answer.text) == (
        status,
        "application/json",
        text,
    )


LOGIN_FAILED = "服务器内部错误，登录失败"
FAILED = "服务器内部错误，请稍后再试"


@pytest.mark.parametrize(
    ("port", "path", "text"),
    [
        (FIRST, "/login", '{"error":"Failed to create session"}'),
        (FIRST, "/signup", '{"error":"Failed to create user"}'),
        (FIRST, "/captcha", '{"error":"Failed to generate captcha image"}'),
        (FIRST, "/captcha/abc123", '{"error":"Failed to generate captcha image"}'),
        (FIRST, "/api/login", '{"error":"Internal server error"}'),
        (FIRST, "/api/register", '{"error":"Internal server error"}'),
        (FIRST, "/api/auth/login", '{"message":"服务器错误"}'),
        (SECOND, "/login?a=b", '{"error":"Failed to create session"}'),
        (SECOND, "/api/auth/createUser", '{"message":"服务器错误"}'),
        (SECOND, "/api/login", envelope(502, LOGIN_FAILED, "SERVER_ERROR")),
        (SECOND, "/api/register?a=b", envelope(502, FAILED, "SERVER_ERROR")),
        (SECOND, "/api/authors", envelope(502, FAILED, "SERVER_ERROR")),
    ],
)
def test_nginx_says_in_the_words_of_the_dialect_that_the_service_is_down(
    without_service: tuple[Client, Client], port: int, path: str, text: str
) -> None:
    assert_says(without_service[port].post(path, {}), 502, text)


@pytest.mark.parametrize(
    ("port", "path", "text"),
    [
        (FIRST, "/login", '{"error":"Request too large"}'),
        (FIRST, "/api/login", '{"error":"Request too large"}'),
        (FIRST, "/api/auth/login", '{"message":"请求内容过大"}'),
        (SECOND, "/api/login", envelope(413, "请求内容过大", "REQUEST_TOO_LARGE")),
    ],
)
def test_nginx_refuses_too_large_a_body_in_the_words_of_the_dialect(
    without_service: tuple[Client, Client], port: int, path: str, text: str
) -> None:
    assert_says(without_service[port].post(path, "x" * 200_000), 413, text)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nginx_answers_for_the_native_dialect_with_its_problems(
    without_service: tuple[Client, Client], language: str
) -> None:
    headers = {"Accept-Language": "zh-CN,en;q=0.5" if language == "zh" else "fr,en;q=0.5"}
    for client in without_service:
        for answer, status, code in (
            (client.get("/v1/captcha", headers=headers), 502, "internal_error"),
            (client.post("/v1/login", "x" * 200_000, headers=headers), 413, "request_too_large"),
        ):
            title, detail = getattr(PROBLEMS[code], language)
            assert answer.json() == {
                "type": f"urn:authsvc:problem:{code}",
                "title": title,
                "status": status,
                "detail": detail,
                "code": code,
            }
            assert answer.status == status
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["Content-Language"] == language
            assert answer.headers["Vary"] == "Accept-Language"


@pytest.mark.parametrize(
    ("headers", "length", "status"), [({"X-Long": "x" * 9000}, 0, 400), ({}, 9000, 414)]
)
def test_nginx_refuses_what_it_cannot_read_in_the_words_of_the_dialect(
    without_service: tuple[Client, Client], headers: dict[str, str], length: int, status: int
) -> None:
    query = "?" + "x" * length
    for client, path, text in (
        (without_service[FIRST], "/login", '{"error":"Invalid request"}'),
        (without_service[FIRST], "/api/login", '{"error":"Missing parameters"}'),
        (without_service[FIRST], "/api/auth/login", '{"message":"请填写所有必需字段"}'),
        (without_service[SECOND], "/api/login", envelope(status, "请求参数无效", "INVALID_INPUT")),
    ):
        assert_says(client.post(path + query, {}, headers=headers), status, text)


@pytest.fixture
def silent() -> Iterator[tuple[socket, list[bytes]]]:
    """A server that takes requests and answers none, and what it was asked."""
    asked: list[bytes] = []
    held: list[socket] = []

    def listen() -> None:
        while True:
            try:
                connection, _ = server.accept()
                asked.append(connection.recv(65536).partition(b"\r\n")[0])
            except OSError:
                return
            held.append(connection)

    with create_server((HOST, 0)) as server:
        thread = Thread(target=listen)
        thread.start()
        yield server, asked
        server.shutdown(2)
        thread.join()
    for connection in held:
        connection.close()


def test_nginx_says_that_the_service_is_silent_and_asks_it_once(
    nginx_binary: str, tmp_path: Path, silent: tuple[socket, list[bytes]]
) -> None:
    server, asked = silent
    port = server.getsockname()[1]
    config = CONFIG.read_text(encoding="utf-8")
    impatient = config.replace("proxy_read_timeout 30s;", "proxy_read_timeout 1s;")
    assert impatient != config
    with Nginx(tmp_path, (port, port), impatient) as nginx:
        login = Client(nginx.first).post("/login", {})
        register = Client(nginx.second).post("/api/register", {})
    assert_says(login, 504, '{"error":"Failed to create session"}')
    assert_says(register, 504, envelope(504, FAILED, "SERVER_ERROR"))
    assert asked == [b"POST /login HTTP/1.1", b"POST /api/register HTTP/1.1"]
