"""gunicorn under traffic: start, reload, recycling and stop, and how its workers share the work."""

import http.client
import os
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.frontends import FAST
from tests.e2e.traffic import Traffic
from tests.support.client import Client
from tests.support.nginx import Nginx
from tests.support.processes import HOST, wait_until
from tests.support.redis import RedisServer
from tests.support.service import Service

CLIENTS = 16
OFF = {"AUTHSVC_RATELIMIT_ENABLED": "off"}


@pytest.fixture
def service(redis_server: RedisServer, tmp_path: Path) -> Iterator[Service]:
    """The service with two workers, on SQLite."""
    with with_workers(tmp_path, redis_server) as service:
        yield service


def with_workers(folder: Path, redis: RedisServer, **env: str) -> Service:
    """Return a service with two workers."""
    return Service(
        folder,
        {
            **FAST,
            **OFF,
            "AUTHSVC_REDIS_URL": redis.url,
            "AUTHSVC_WORKERS": "2",
            "AUTHSVC_TRUSTED_PROXIES": HOST,
            **env,
        },
    )


def workers(service: Service) -> list[int]:
    """Return the process ids of the workers, which share the master's session."""
    listed = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    return [int(child) for child in listed if shares_session(int(child))]


def shares_session(child: int) -> bool:
    """Tell whether a child has no session of its own, as the private Redis has."""
    try:
        return os.getsid(child) != child
    except ProcessLookupError:
        return False


def reload(service: Service) -> None:
    """Send HUP, and return when all workers are new and the old ones gone."""
    before = set(workers(service))
    os.kill(service.pid, signal.SIGHUP)
    assert wait_until(lambda: len(set(workers(service)) - before) == 2, 10)
    assert wait_until(lambda: not before & set(workers(service)), 30)


class TestReload:
    def test_under_traffic_it_resets_no_connection_and_answers_every_request(
        self, service: Service
    ) -> None:
        with Traffic(service.first, CLIENTS) as traffic:
            for _ in range(3):
                traffic.flow()
                reload(service)
            traffic.flow()
        assert (traffic.lost, traffic.refused) == ([], 0)
        assert set(traffic.answers) == {200}
        assert traffic.farewells >= CLIENTS

    def test_under_traffic_through_nginx_every_request_is_answered(
        self, service: Service, nginx_binary: str, tmp_path: Path
    ) -> None:
        with (
            Nginx(tmp_path / "nginx", service.ports) as nginx,
            Traffic(nginx.first, CLIENTS) as traffic,
        ):
            for _ in range(3):
                traffic.flow()
                reload(service)
            traffic.flow()
        assert (traffic.lost, traffic.refused) == ([], 0)
        assert set(traffic.answers) == {200}

    def test_several_at_once_lose_nothing_and_leave_as_many_workers_as_before(
        self, service: Service
    ) -> None:
        with Traffic(service.first, CLIENTS) as traffic:
            for _ in range(5):
                os.kill(service.pid, signal.SIGHUP)
                time.sleep(0.2)
            traffic.flow()
            assert wait_until(lambda: len(workers(service)) == 2, 30)
            traffic.flow()
        assert (traffic.lost, traffic.refused) == ([], 0)
        assert set(traffic.answers) == {200}

    def test_the_private_redis_and_what_it_holds_survive_it(self, tmp_path: Path) -> None:
        with Service(tmp_path, {**FAST, **OFF, "AUTHSVC_WORKERS": "2"}) as service:
            service.migrate()
            client = Client(service.first)
            signed_up = client.post(
                "/api/register",
                {"username": "bob", "password": "Password1", "email": "bob@example.com"},
            )
            bearer = {"Authorization": f"Bearer {signed_up.json()['token']}"}
            redis = {member for member in service.children() if "redis-server" in member.name}
            assert redis
            for _ in range(2):
                reload(service)
            assert redis <= service.children()
            assert client.get("/v1/me", headers=bearer).status == 200


class TestRecycling:
    def test_under_traffic_every_request_is_answered(
        self, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        recycling = "--max-requests 150 --max-requests-jitter 100"
        with with_workers(tmp_path, redis_server, GUNICORN_CMD_ARGS=recycling) as service:
            seen = set(workers(service))
            with Traffic(service.first, CLIENTS) as traffic:
                while len(seen) < 6 and traffic.count < 20_000:
                    traffic.flow(0.1)
                    seen |= set(workers(service))
                traffic.flow()
        assert (traffic.lost, traffic.refused) == ([], 0)
        assert set(traffic.answers) == {200}
        assert len(seen) >= 6


class TestStop:
    def test_under_traffic_every_request_that_was_sent_is_answered(self, service: Service) -> None:
        for _ in range(2):
            with Traffic(service.first, CLIENTS, pause=0.002) as traffic:
                traffic.flow()
                began = time.monotonic()
                service.stop()
                assert time.monotonic() - began < 25  # less than the graceful time-out
            assert traffic.lost == []
            assert set(traffic.answers) == {200}
            assert traffic.farewells >= 1
            service.start()

    def test_what_is_connected_and_not_accepted_yet_is_answered(
        self, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        with with_workers(tmp_path, redis_server) as service, ExitStack() as opened:
            for worker in workers(service):
                os.kill(worker, signal.SIGSTOP)
            waiting = [opened.enter_context(connect(service)) for _ in range(4)]
            for client in waiting:
                client.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
            os.kill(service.pid, signal.SIGTERM)
            time.sleep(0.2)
            for worker in workers(service):
                os.kill(worker, signal.SIGCONT)
            for client in waiting:
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            service.stop()

    def test_a_worker_hears_a_signal_that_comes_while_it_is_forked(self, service: Service) -> None:
        for _ in range(6):
            known = set(workers(service))
            os.kill(min(known), signal.SIGTERM)
            young = next_child(service, known)
            os.kill(young, signal.SIGTERM)
            assert wait_until(partial(has_ended, service, young), 5)
            assert wait_until(lambda: len(workers(service)) == 2, 5)


def has_ended(service: Service, worker: int) -> bool:
    """Tell whether a worker is there no more."""
    return worker not in workers(service)


def next_child(service: Service, known: set[int]) -> int:
    """Return a worker that was not known, as soon as it is there."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if new := set(workers(service)) - known:
            return new.pop()
    raise AssertionError("no worker was forked")


class TestStart:
    def test_workers_that_keep_dying_are_not_forked_without_end(self, service: Service) -> None:
        seen = set(workers(service))
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            for worker in workers(service):
                seen.add(worker)
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            time.sleep(0.01)
        assert 3 < len(seen) < 40
        assert wait_until(lambda: len(workers(service)) == 2, 10)
        assert wait_until(service.is_ready, 10)


class TestSharing:
    def test_connections_are_shared_evenly_among_the_workers(self, service: Service) -> None:
        assert wait_until(lambda: min(shares(service)) > 0, 10)
        ratios = []
        for _ in range(16):
            least, most = sorted(shares(service))
            ratios.append(least / most)
        assert min(ratios) > 0.3, ratios
        assert statistics.median(ratios) > 0.5, ratios

    def test_clients_of_the_one_worker_there_is_are_shared_out_once_there_is_another(
        self, service: Service
    ) -> None:
        assert wait_until(lambda: len(workers(service)) == 2, 5)
        away = min(workers(service))
        os.kill(away, signal.SIGSTOP)
        with Traffic(service.first, CLIENTS) as traffic:
            assert wait_until(lambda: held(service) == CLIENTS, 10)
            traffic.flow()
            os.kill(away, signal.SIGKILL)
            assert wait_until(lambda: min(held_by_each(service)) >= CLIENTS // 4, 15)
            parted_with = traffic.farewells
            traffic.flow(2.5)
            assert traffic.farewells == parted_with, "who has a fair share keeps it"
        assert 0 < parted_with <= CLIENTS
        assert (traffic.lost, traffic.refused) == ([], 0)
        assert set(traffic.answers) == {200}

    def test_a_worker_that_is_stuck_keeps_nobody_from_being_answered(
        self, service: Service
    ) -> None:
        assert wait_until(lambda: len(workers(service)) == 2, 5)
        stuck = min(workers(service))
        with Traffic(service.first, 4) as traffic:
            traffic.flow(0.5)
        os.kill(stuck, signal.SIGSTOP)
        try:
            with Traffic(service.first, CLIENTS) as traffic:
                traffic.flow(2)
                answered = traffic.count
        finally:
            os.kill(stuck, signal.SIGCONT)
        assert answered > CLIENTS
        assert traffic.lost == []


def shares(service: Service) -> list[int]:
    """Open connections all at once; return how many each of the two workers has of them."""
    assert wait_until(lambda: len(workers(service)) == 2 and not held(service), 10)
    with ExitStack() as opened, ThreadPoolExecutor(CLIENTS) as pool:
        clients = list(pool.map(lambda _: connect(service), range(CLIENTS)))
        for client in clients:
            opened.enter_context(client)
        list(pool.map(ask, clients))
        found = held_by_each(service)
    assert sum(found) == CLIENTS
    return found


def held(service: Service) -> int:
    """Return how many connections the workers have."""
    return sum(held_by_each(service))


def held_by_each(service: Service) -> list[int]:
    """Return how many connections each worker has; zero too for one that is not there yet."""
    found = [connections(worker, service.ports[0]) for worker in workers(service)]
    return found + [0] * (2 - len(found))


def connections(pid: int, port: int) -> int:
    """Return how many connections a process has that arrived on a port."""
    sockets = set()
    with suppress(FileNotFoundError, ProcessLookupError):  # it may be gone by now
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                sockets.add(os.readlink(descriptor))
    arrived = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = [row for row in rows if row[1].endswith(arrived) and row[3] == "01"]
    return sum(f"socket:[{row[9]}]" in sockets for row in established)


def connect(service: Service) -> socket.socket:
    """Return a connection."""
    return socket.create_connection((HOST, service.ports[0]), timeout=15)


def ask(client: socket.socket) -> bytes:
    """Send a request, and return what is answered."""
    client.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client.recv(65536)


class TestSlowClients:
    def test_connections_that_send_nothing_take_no_thread(
        self, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        with (
            with_workers(tmp_path, redis_server, AUTHSVC_THREADS="2") as service,
            ExitStack() as opened,
        ):
            client = Client(service.first)
            quick = seconds_of(client)
            for _ in range(40):
                opened.enter_context(connect(service))
            time.sleep(0.2)
            assert seconds_of(client) < quick + 1

    def test_requests_that_are_never_sent_to_the_end_give_their_threads_back(
        self, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        with (
            with_workers(tmp_path, redis_server, AUTHSVC_THREADS="2") as service,
            ExitStack() as opened,
        ):
            head = b"POST /login HTTP/1.1\r\nHost: localhost\r\n"
            body = head + b"Content-Type: application/json\r\nContent-Length: 60\r\n\r\n{"
            slow = [opened.enter_context(connect(service)) for _ in range(4)]
            for number, client in enumerate(slow):
                client.sendall(body if number % 2 else head)
            time.sleep(0.2)
            assert Client(service.first, timeout=30).get("/version").status == 200
            answers = [client.recv(4096) for client in slow]
            assert answers[0] == answers[2] == b""
            assert answers[1].startswith(b"HTTP/1.1 400 ")
            assert "Traceback" not in service.log_text()


def seconds_of(client: Client) -> float:
    """Return how long an answer takes."""
    began = time.monotonic()
    assert client.get("/version").status == 200
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("sent", "status", "error"),
    [
        (b"GET\r\n\r\n", 400, "Bad request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400, "Bad request"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: what\r\n\r\n", 501, None),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414, "URI too long"),
    ],
    ids=["request line", "header", "transfer coding", "long line"],
)
def test_what_is_no_http_is_answered_in_json(
    service: Service, sent: bytes, status: int, error: str | None
) -> None:
    with connect(service) as client:
        client.sendall(sent)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.status == status
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Connection"] == "close"
        body = answer.read()
    if error is not None:
        assert body == b'{"error": "%s"}' % error.encode()
