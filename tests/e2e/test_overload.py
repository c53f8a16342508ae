"""Floods: what can be hashed is, the rest is refused at once, and nothing else waits for it."""

import http.client
import json
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.flood import Report
from tests.e2e.frontends import FAST, PASSWORD
from tests.support.client import Client
from tests.support.mariadb import MariaDB
from tests.support.nginx import Nginx
from tests.support.processes import HOST
from tests.support.redis import RedisServer
from tests.support.service import ROOT, Service

BUSY = "服务繁忙，请稍后再试"
LOG_INS: list[tuple[int, str, str, dict[str, Any]]] = [
    (0, "/login", "username", {"error": "Service unavailable"}),
    (0, "/api/login", "username", {"error": "Service unavailable"}),
    (1, "/api/auth/login", "username", {"message": BUSY}),
    (
        1,
        "/api/login",
        "username",
        {
            "success": False,
            "message": BUSY,
            "statusCode": 503,
            "errorCode": "SERVICE_UNAVAILABLE",
        },
    ),
    (0, "/v1/login", "username", {"code": "overloaded"}),
]
"""Of each dialect: port, path, the name's field, and what its refusal says."""

PROBES = ("/v1/me", "/captcha", "/version")
SAMPLES = 150
ROUNDS = 5
WAIT = 3
"""Seconds that a log-in may wait: fewer than a full queue would take."""


@pytest.fixture(scope="module")
def slow_service(
    mariadb: MariaDB, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service on MariaDB, two workers, and hashes that take about a tenth of a second."""
    service = Service(
        tmp_path_factory.mktemp("overload"),
        {
            **FAST,
            "AUTHSVC_DATABASE_URL": mariadb.create_database(),
            "AUTHSVC_REDIS_URL": redis_server.url,
            "AUTHSVC_RATELIMIT_ENABLED": "off",
            "AUTHSVC_CAPTCHA_MAX_LIVE": "100000",
            "AUTHSVC_WORKERS": "2",
            "AUTHSVC_TRUSTED_PROXIES": HOST,
            "AUTHSVC_HASH_SLOTS": "2",
            "AUTHSVC_HASH_WAIT": str(WAIT),
            "AUTHSVC_ARGON2_MEMORY_KIB": "19456",
            "AUTHSVC_ARGON2_TIME_COST": "12",
        },
    )
    service.prepare()
    service.migrate()
    with service:
        yield service


@pytest.fixture(scope="module")
def token(slow_service: Service) -> str:
    """The token of a user who has signed up, as has bob.

    She takes no part in the floods: they open more sessions than one user may have.
    """
    found: str
    for username in ("bob", "alice"):
        body = {"username": username, "password": PASSWORD, "email": f"{username}@example.com"}
        answer = Client(slow_service.first).post("/api/register", body)
        assert answer.status == 201
        found = answer.json()["token"]
    return found


def bases(service: Service) -> tuple[str, str]:
    """Return the base URLs of the two ports."""
    return service.first, service.second


def log_ins(service: Service) -> list[Report]:
    """Return what a flood of log-ins sends, in each dialect."""
    return [
        {"base": bases(service)[port], "path": path, "body": {field: "bob", "password": PASSWORD}}
        for port, path, field, _ in LOG_INS
    ]


@contextmanager
def flood(targets: list[Report], clients: int, seconds: float) -> Iterator[list[Report]]:
    """Let a flood go on while the block runs; the list holds its answers afterwards."""
    order = {"targets": targets, "clients": clients, "period": 1.0, "seconds": seconds}
    answers: list[Report] = []
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.flood"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(order))
            process.stdin.close()
            process.stdin = None
            yield answers
            answers += json.loads(process.communicate(timeout=seconds + 60)[0])
        finally:
            process.kill()


class Prober:
    """Asks what must stay fast, and times it."""

    def __init__(self, service: Service, token: str) -> None:
        self._address = urlsplit(service.first)
        self._headers = {"Authorization": f"Bearer {token}"}

    def p99(self) -> dict[str, float]:
        """Return, for each path, how many seconds all but one in a hundred answers take at most."""
        times: dict[str, list[float]] = {path: [] for path in PROBES}
        with ExitStack() as opened:
            connections = {path: opened.enter_context(self._connection()) for path in PROBES}
            for _ in range(SAMPLES):
                for path, connection in connections.items():
                    times[path].append(self._seconds(connection, path))
                time.sleep(0.01)
        return {path: sorted(taken)[-1 - SAMPLES // 100] for path, taken in times.items()}

    def _connection(self) -> closing[http.client.HTTPConnection]:
        host, port = self._address.hostname or "", self._address.port
        return closing(http.client.HTTPConnection(host, port, timeout=15))

    def _seconds(self, connection: http.client.HTTPConnection, path: str) -> float:
        began = time.monotonic()
        connection.request("GET", path, headers=self._headers)
        answer = connection.getresponse()
        answer.read()
        took = time.monotonic() - began
        assert answer.status == 200, path
        return took


def seconds_of_log_in(service: Service) -> float:
    """Return how long a log-in takes when there is nothing else to do."""
    began = time.monotonic()
    answer = Client(service.first).post("/api/login", {"username": "bob", "password": PASSWORD})
    assert answer.status == 200
    return time.monotonic() - began


def test_under_a_flood_of_log_ins_everything_else_stays_fast(
    slow_service: Service, token: str
) -> None:
    prober = Prober(slow_service, token)
    ratios = []
    for _ in range(ROUNDS):
        idle = prober.p99()
        with flood(log_ins(slow_service), clients=240, seconds=12) as answers:
            time.sleep(2.5)
            flooded = prober.p99()
        assert {answer["status"] for answer in answers} == {200, 503}
        ratios.append({path: round(flooded[path] / idle[path], 2) for path in PROBES})
        if max(ratios[-1].values()) < 5:
            return
    pytest.fail(f"p99 under the flood ÷ idle p99, in {ROUNDS} rounds: {ratios}")


def test_a_log_in_that_cannot_be_hashed_is_refused_at_once_in_its_dialects_words(
    slow_service: Service, token: str
) -> None:
    alone = seconds_of_log_in(slow_service)
    capacity = 2 / alone
    with flood(log_ins(slow_service), clients=240, seconds=8) as answers:
        pass
    assert len(answers) > 8 * capacity
    statuses = Counter(answer["status"] for answer in answers)
    assert set(statuses) == {200, 503}, statuses
    refused = [answer for answer in answers if answer["status"] == 503]
    for answer in refused:
        words = LOG_INS[answer["target"]][3]
        assert words.items() <= answer["body"].items()
        assert 1 <= int(answer["retry_after"]) <= WAIT
    assert {answer["target"] for answer in refused} == set(range(len(LOG_INS)))
    assert statistics.median(answer["seconds"] for answer in refused) < alone
    for target in log_ins(slow_service):
        assert Client(target["base"]).post(target["path"], target["body"]).status == 200


def test_a_flood_of_sign_ups_stores_whom_it_answers_and_nobody_else(
    slow_service: Service, token: str
) -> None:
    user = {"username": "new#", "password": PASSWORD, "email": "new#@example.com"}
    target = {"base": slow_service.first, "path": "/api/register", "body": user}
    with flood([target], clients=150, seconds=5) as answers:
        pass
    statuses = Counter(answer["status"] for answer in answers)
    assert set(statuses) == {201, 503}, statuses
    made = [answer["body"]["username"] for answer in answers if answer["status"] == 201]
    listed = slow_service.flask("users", "list", "--search", "new", "--limit", "1000", "--json")
    assert listed.returncode == 0, listed.stderr
    stored = [json.loads(line)["username"] for line in listed.stdout.splitlines()]
    assert sorted(made) == sorted(stored)


def test_one_client_that_floods_one_connection_is_answered_in_turn(
    slow_service: Service, token: str
) -> None:
    body = json.dumps({"username": "bob", "password": PASSWORD})
    head = "POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    with socket.create_connection((HOST, slow_service.ports[0]), timeout=30) as client:
        client.sendall(request * 20)
        assert Client(slow_service.first).post("/api/login", json.loads(body)).status == 200
        received = b""
        while received.count(b'"token"') < 20:
            received += client.recv(65536)
    assert received.count(b"HTTP/1.1 200 ") == 20


def test_clients_that_never_finish_a_body_do_not_reach_the_service_through_nginx(
    slow_service: Service, token: str, nginx_binary: str, tmp_path: Path
) -> None:
    half = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n{"
    with Nginx(tmp_path, slow_service.ports) as nginx, ExitStack() as opened:
        for _ in range(200):
            client = opened.enter_context(socket.create_connection((HOST, nginx.ports[0])))
            client.sendall(half)
        for _ in range(20):
            answer = Client(nginx.first).get("/v1/me", headers={"Authorization": f"Bearer {token}"})
            assert answer.status == 200
