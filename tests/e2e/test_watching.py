"""Health and metrics of the service as it runs: three workers, real stores, nginx before it."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from authsvc.infra.metric_files import PREFIX
from tests.e2e.frontends import FAST
from tests.infra.databases import connected_to, migrated
from tests.support.client import Answer, Client
from tests.support.mariadb import MariaDB
from tests.support.nginx import Nginx
from tests.support.processes import HOST, wait_until
from tests.support.redis import RedisServer
from tests.support.service import Service

COUNT = 'authsvc_requests_total{dialect="service",operation="tell_version",outcome="ok"}'
ALL_WELL = {"database": "ok", "migrations": "ok", "redis": "ok"}


def metrics_of(service: Service) -> dict[str, float]:
    """Return what Prometheus would read: series → value."""
    answer = Client(service.first).get("/metrics")
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def ask_often(service: Service, times: int) -> None:
    """Ask on so many new connections, which all workers take."""
    for _ in range(times):
        assert Client(service.first).get("/version").status == 200


def workers_of(service: Service) -> list[int]:
    """Return the process ids of the workers."""
    return sorted(member.pid for member in service.children())


def ready(service: Service) -> Answer:
    """Ask whether the service is ready."""
    return Client(service.first).get("/readyz")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder in which the service puts its temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def three_workers(
    mariadb: MariaDB, redis_server: RedisServer, folder: Path, temporary: Path
) -> Service:
    """Return a service that is not started yet."""
    url = mariadb.create_database()
    with migrated(url):
        pass
    environment = {
        **FAST,
        "TMPDIR": str(temporary),
        "AUTHSVC_DATABASE_URL": url,
        "AUTHSVC_REDIS_URL": redis_server.url,
        "AUTHSVC_WORKERS": "3",
        "AUTHSVC_TRUSTED_PROXIES": "127.0.0.1",
    }
    return Service(folder, environment)


@pytest.fixture
def fragile(
    mariadb: MariaDB, redis_server: RedisServer, tmp_path: Path, temporary: Path
) -> Iterator[Service]:
    """A service of the test's own, which it may stop."""
    with three_workers(mariadb, redis_server, tmp_path / "fragile", temporary) as service:
        assert wait_until(lambda: len(workers_of(service)) == 3, 5)
        yield service


@pytest.fixture(scope="module")
def service(
    mariadb: MariaDB, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service whose database and Redis tests may break, and bring back."""
    folder = tmp_path_factory.mktemp("service")
    with three_workers(mariadb, redis_server, folder, folder) as service:
        yield service


def files_in(temporary: Path) -> set[str]:
    """Return the files of the metrics."""
    return {file.name for file in temporary.glob(f"{PREFIX}*/*")}


class TestMetrics:
    def test_add_up_over_workers_killed_workers_and_reloads(
        self, fragile: Service, temporary: Path
    ) -> None:
        before = metrics_of(fragile).get(COUNT, 0)
        ask_often(fragile, 60)
        assert metrics_of(fragile)[COUNT] == before + 60

        workers = workers_of(fragile)
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        assert wait_until(lambda: not set(workers) & set(workers_of(fragile)), 5)
        assert wait_until(lambda: len(workers_of(fragile)) == 3, 10)
        ask_often(fragile, 30)
        assert metrics_of(fragile)[COUNT] == before + 90
        assert len({name for name in files_in(temporary) if name.startswith("counter")}) == 4

        for _ in range(3):
            workers = workers_of(fragile)
            os.kill(fragile.pid, signal.SIGHUP)
            assert wait_until(
                lambda gone=set(workers): not gone & set(workers_of(fragile)),  # type: ignore[misc]
                15,
            )
            ask_often(fragile, 10)
        assert metrics_of(fragile)[COUNT] == before + 120
        # The reloaded workers and those before them counted side by side: two times three.
        assert len({name for name in files_in(temporary) if name.startswith("counter")}) <= 7

    def test_leave_no_file_when_the_service_stops(self, fragile: Service, temporary: Path) -> None:
        assert files_in(temporary)
        fragile.stop()
        assert list(temporary.glob(f"{PREFIX}*")) == []

    def test_of_a_killed_master_are_removed_by_the_next(
        self, fragile: Service, temporary: Path
    ) -> None:
        [left] = temporary.glob(f"{PREFIX}*")
        family = fragile.children()
        fragile.kill()
        assert wait_until(lambda: not any(alive(member.pid) for member in family), 10)
        assert left.exists()
        fragile.start()
        assert not left.exists()
        assert len(list(temporary.glob(f"{PREFIX}*"))) == 1

    def test_tell_how_many_connections_are_in_use(
        self, service: Service, breakable_mariadb: MariaDB
    ) -> None:
        assert metrics_of(service)["authsvc_database_connections"] == 0
        breakable_mariadb.pause()
        body = {"username": "nobody", "password": "Password1"}
        waiting = [
            threading.Thread(target=Client(service.first).post, args=("/login", body))
            for _ in range(4)
        ]
        for thread in waiting:
            thread.start()
        used = wait_until(lambda: metrics_of(service)["authsvc_database_connections"] > 0, 4)
        breakable_mariadb.resume()
        for thread in waiting:
            thread.join()
        assert used
        assert wait_until(lambda: metrics_of(service)["authsvc_database_connections"] == 0, 4)

    def test_behind_nginx_are_read_by_the_clients_address(
        self, service: Service, nginx_binary: str, tmp_path: Path
    ) -> None:
        with Nginx(tmp_path / "nginx", service.ports) as nginx:
            allowed = Client(nginx.first).get("/metrics")
            refused = Client(nginx.first, source="127.0.0.2").get("/metrics")
        assert allowed.status == 200
        assert (refused.status, refused.json()) == (403, {"error": "Forbidden"})

    def test_count_what_comes_of_captchas_and_sessions(self, service: Service) -> None:
        before = metrics_of(service)
        client = Client(service.first)
        captcha_id = client.get("/captcha").json()["captchaId"]
        client.get(f"/captcha/{captcha_id}")
        who = {"username": "counted", "password": "Password1", "email": "c@example.com"}
        client.post("/signup", who | {"captchaId": captcha_id, "value": "wrong"})
        client.post("/api/register", who)
        after = metrics_of(service)
        changed = {name for name in after if after[name] != before.get(name, 0)}
        assert changed >= {
            'authsvc_captchas_total{event="issued"}',
            'authsvc_captchas_total{event="seen"}',
            'authsvc_captchas_total{event="failed"}',
            'authsvc_sessions_total{event="opened"}',
            'authsvc_requests_total{dialect="session",operation="sign_up",'
            'outcome="captcha_rejected"}',
            'authsvc_request_seconds_count{dialect="token",operation="register"}',
        }
        assert 'authsvc_captchas_total{event="solved"}' not in changed


def alive(pid: int) -> bool:
    """Tell whether a process has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class TestReadiness:
    def test_is_said_when_all_is_well(self, service: Service) -> None:
        answer = ready(service)
        assert (answer.status, answer.json()) == (200, {"status": "ok", "checks": ALL_WELL})

    @pytest.mark.parametrize("way", ["killed", "frozen"])
    def test_names_a_database_that_is(
        self, way: str, service: Service, breakable_mariadb: MariaDB
    ) -> None:
        assert wait_until(lambda: ready(service).status == 200, 5)
        (breakable_mariadb.kill if way == "killed" else breakable_mariadb.pause)()
        wrong = "down" if way == "killed" else "timed out"
        self.assert_named(service, {"database": wrong, "migrations": wrong, "redis": "ok"})
        breakable_mariadb.ensure_running()
        assert wait_until(lambda: ready(service).json()["checks"] == ALL_WELL, 10)

    @pytest.mark.parametrize("way", ["killed", "frozen"])
    def test_names_a_redis_that_is(
        self, way: str, service: Service, breakable_redis: RedisServer
    ) -> None:
        assert wait_until(lambda: ready(service).status == 200, 5)
        (breakable_redis.kill if way == "killed" else breakable_redis.pause)()
        self.assert_named(service, {"database": "ok", "migrations": "ok"})
        breakable_redis.ensure_running()
        assert wait_until(lambda: ready(service).json()["checks"] == ALL_WELL, 10)

    def test_names_a_database_that_is_one_migration_behind(
        self, mariadb: MariaDB, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        url = mariadb.create_database()
        with connected_to(url):
            from flask_migrate import upgrade

            upgrade(revision="head-1")
        environment = {
            **FAST,
            "AUTHSVC_DATABASE_URL": url,
            "AUTHSVC_REDIS_URL": redis_server.url,
            "AUTHSVC_WORKERS": "1",
        }
        with Service(tmp_path, environment) as service:
            assert ready(service).json()["checks"] == ALL_WELL | {"migrations": "behind"}
            assert ready(service).status == 503
            service.migrate()
            assert wait_until(lambda: ready(service).status == 200, 5)

    def test_hanging_stores_hold_up_no_sign_of_life_and_few_threads(
        self, service: Service, breakable_mariadb: MariaDB, breakable_redis: RedisServer
    ) -> None:
        breakable_mariadb.pause()
        breakable_redis.pause()
        probes = [threading.Thread(target=ready, args=(service,)) for _ in range(48)]
        began = time.monotonic()
        for probe in probes:
            probe.start()
        assert Client(service.first).get("/livez").json() == {"status": "ok"}
        for probe in probes:
            probe.join()
        # One wait after the other would take sixteen times as long as one.
        assert time.monotonic() - began < 10

    @staticmethod
    def assert_named(service: Service, expected: dict[str, str]) -> None:
        def is_named() -> bool:
            answer = ready(service)
            checks = answer.json()["checks"]
            return answer.status == 503 and checks | expected == checks and checks != ALL_WELL

        assert wait_until(is_named, 5), ready(service).text


def test_probes_are_not_in_the_log(service: Service) -> None:
    client = Client(service.first)
    for path in ("/livez", "/readyz", "/version"):
        assert client.get(path).status in (200, 503)
    log = service.log_text()
    assert "operation=tell_version" in log
    assert "operation=live" not in log
    assert "operation=ready" not in log


def test_production_writes_json_and_gunicorn_too(
    mariadb: MariaDB, redis_server: RedisServer, tmp_path: Path
) -> None:
    url = mariadb.create_database()
    with migrated(url):
        pass
    environment = {
        **FAST,
        "AUTHSVC_ENV": "production",
        "AUTHSVC_CAPTCHA_TEST_VALUE": "",
        "AUTHSVC_JWT_SECRET": "s" * 32,
        "AUTHSVC_DATABASE_URL": url,
        "AUTHSVC_REDIS_URL": redis_server.url,
        "AUTHSVC_WORKERS": "1",
    }
    with Service(tmp_path, environment) as service:
        request_id = Client(service.first).get("/nothing/here?password=x").headers["X-Request-ID"]
    lines = [json.loads(line) for line in service.log_text().splitlines()]
    assert {"gunicorn.error", "authsvc.access"} <= {line["logger"] for line in lines}
    [line] = [line for line in lines if line.get("request_id") == request_id]
    assert line.pop("timestamp").endswith("+00:00")
    assert 0 < line.pop("duration") < 10
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "authsvc.access",
        "request_id": request_id,
        "dialect": "session",
        "operation": "none",
        "outcome": "not_found",
        "status": 404,
        "method": "GET",
        "client": HOST,
    }


def test_a_trusted_proxy_names_the_request(
    service: Service, nginx_binary: str, tmp_path: Path
) -> None:
    named = {"X-Request-ID": "from.a-proxy_1"}
    assert Client(service.first).get("/version", headers=named).headers["X-Request-ID"] in (
        named.values()
    )
    stranger = Client(service.first, source="127.0.0.2").get("/version", headers=named)
    assert re.fullmatch("[0-9a-f]{16}", stranger.headers["X-Request-ID"])
    with Nginx(tmp_path / "nginx", service.ports) as nginx:
        through = Client(nginx.first).get("/version", headers=named).headers["X-Request-ID"]
    # nginx gives names of its own, so that no client chooses one.
    assert re.fullmatch("[0-9a-f]{32}", through)
