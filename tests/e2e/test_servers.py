"""The harness itself: servers start, answer, come back from a crash, leave nothing behind."""

import http.client
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy.exc import OperationalError

from tests.support import binaries, processes
from tests.support.client import Client
from tests.support.mariadb import MariaDB
from tests.support.nginx import Nginx, relocated
from tests.support.processes import (
    HOST,
    DidNotStart,
    DidNotStop,
    Server,
    free_ports,
    wait_until,
)
from tests.support.redis import RedisServer
from tests.support.service import ROOT, Service

# Runs pytest as on a machine where no server is installed.
BARE_MACHINE = """
import sys
import pytest
from tests.support import binaries
binaries.find = lambda program: None
sys.exit(pytest.main(["-p", "no:cacheprovider", "-q", *sys.argv[1:]]))
"""

CONFIG = """\
user www-data;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log warn;
events { }
http {
    access_log /var/log/nginx/access.log;
    upstream first { server 127.0.0.1:18080; }
    upstream second { server 127.0.0.1:13000; }
    server {
        listen 8080;
        client_max_body_size 128k;
        proxy_read_timeout 3000ms;
        location / { proxy_pass http://first; proxy_set_header X-Forwarded-For $remote_addr; }
    }
    server {
        listen 3000;
        location / { proxy_pass http://second; proxy_set_header X-Forwarded-For $remote_addr; }
    }
}
"""


class Shell(Server):
    """A stand-in for a server: a line of shell, ready when it has written "ready"."""

    name = "shell"
    start_seconds = 2.0
    stop_seconds = 1.0
    orphan_seconds = 1.0

    def __init__(self, folder: Path, line: str) -> None:
        super().__init__(folder)
        self.line = line

    def command(self) -> list[str]:
        return ["/bin/sh", "-c", self.line]

    def is_ready(self) -> bool:
        return "ready" in self.log_text()


class Echo(BaseHTTPRequestHandler):
    """Answers with the address it was forwarded for and the body it was sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("X-Client", self.headers.get("X-Forwarded-For", self.client_address[0]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a small HTTP server."""
    with ThreadingHTTPServer((processes.HOST, 0), Echo) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def is_gone(pid: int) -> bool:
    """Tells whether no process has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(50))) == 50


def test_a_server_that_ends_at_start_tells_its_status_and_the_end_of_its_log(
    tmp_path: Path,
) -> None:
    with pytest.raises(DidNotStart, match="ended with status 3") as failure:
        Shell(tmp_path, "echo no such setting; exit 3").start()
    assert failure.value.exit_status == 3
    assert failure.value.log_tail == "no such setting"


def test_a_server_that_stays_silent_is_given_up_and_killed(tmp_path: Path) -> None:
    server = Shell(tmp_path, "sleep 60 & sleep 60")
    with pytest.raises(DidNotStart, match="did not answer in time"):
        server.start()
    assert not server.alive
    assert not server.children()


def test_a_server_that_ignores_sigterm_is_killed_and_reported(tmp_path: Path) -> None:
    server = Shell(tmp_path, "trap '' TERM; echo ready; while :; do sleep 0.1; done").start()
    with pytest.raises(DidNotStop, match="still there"):
        server.stop()
    assert not server.alive


def test_a_process_left_behind_in_a_session_of_its_own_is_killed_and_reported(
    tmp_path: Path,
) -> None:
    server = Shell(tmp_path, "setsid sleep 60 & sleep 0.2; echo ready; exec sleep 60").start()
    [child] = server.children()
    with pytest.raises(DidNotStop, match=rf"left behind: sleep \({child.pid}\)"):
        server.stop()
    assert wait_until(lambda: is_gone(child.pid), 5)


def test_a_server_inherits_no_setting_of_the_test_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHSVC_ENV", "production")
    with Shell(tmp_path, "env; echo ready; exec sleep 60") as server:
        assert "AUTHSVC" not in server.log_text()


def test_a_server_dies_with_the_test_run(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from tests.e2e.test_servers import Shell
print(Shell(Path(sys.argv[1]), "echo ready; exec sleep 60").start().pid, flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.send_signal(signal.SIGKILL)
    assert wait_until(lambda: is_gone(pid), 5)


def test_a_second_mariadb_starts_and_leaves_nothing_behind(
    mariadb: MariaDB, tmp_path: Path
) -> None:
    with MariaDB(tmp_path) as server:
        assert server.query("SELECT @@character_set_server")[0][0] == "utf8mb4"
        pid = server.pid
    assert is_gone(pid)
    assert not processes.accepts_tcp(server.port)


def test_a_database_is_empty_each_time_it_is_made(mariadb: MariaDB) -> None:
    mariadb.create_database("harness")
    mariadb.query("CREATE TABLE facts (fact VARCHAR(20))", "harness")
    mariadb.create_database("harness")
    assert mariadb.query("SHOW TABLES", "harness") == []
    assert mariadb.create_database() != mariadb.create_database()


def test_mariadb_keeps_a_committed_row_when_it_is_killed(breakable_mariadb: MariaDB) -> None:
    server = breakable_mariadb
    server.create_database("harness")
    server.query("CREATE TABLE facts (fact VARCHAR(20))", "harness")
    server.query("INSERT INTO facts VALUES ('事实')", "harness")
    server.kill()
    with pytest.raises(OperationalError):
        server.query("SELECT 1")
    server.start()
    assert [tuple(row) for row in server.query("SELECT fact FROM facts", "harness")] == [("事实",)]


def test_mariadb_answers_again_after_a_pause(breakable_mariadb: MariaDB) -> None:
    breakable_mariadb.pause()
    assert processes.accepts_tcp(breakable_mariadb.port)
    breakable_mariadb.resume()
    assert breakable_mariadb.query("SELECT 1")[0][0] == 1


def test_redis_keeps_its_keys_when_it_is_killed_or_restarted(breakable_redis: RedisServer) -> None:
    server = breakable_redis
    server.flush()
    # By default the file may lag a second behind the answer.
    assert server.ask("CONFIG SET appendfsync always") == "+OK"
    assert server.ask("SET fact yes") == "+OK"
    server.kill()
    server.start()
    server.restart()
    assert server.ask("EXISTS fact") == ":1"
    server.flush()
    assert server.ask("EXISTS fact") == ":0"


def test_redis_is_silent_while_it_is_paused(breakable_redis: RedisServer) -> None:
    breakable_redis.pause()
    assert breakable_redis.alive
    assert not breakable_redis.is_ready()
    breakable_redis.resume()
    assert breakable_redis.is_ready()


def test_nginx_passes_on_the_body_and_the_address_of_the_client(
    nginx_binary: str, tmp_path: Path, echo: int
) -> None:
    with Nginx(tmp_path, (echo, echo), CONFIG) as server:
        workers = server.children()
        for base in (server.first, server.second):
            answer = Client(base, source="127.0.0.2").post("/echo", {"名": None})
            assert (answer.status, answer.json(), answer.headers["X-Client"]) == (
                200,
                {"名": None},
                "127.0.0.2",
            )
        server.restart()
        assert Client(server.first).post("/echo").status == 200
    assert workers
    assert all(is_gone(worker.pid) for worker in workers)
    assert '"POST /echo HTTP/1.1" 200' in server.log_text()


def test_nginx_runs_with_the_configuration_of_the_repository(
    nginx_binary: str, tmp_path: Path, echo: int
) -> None:
    with Nginx(tmp_path, (echo, echo)) as server:
        for base in (server.first, server.second):
            assert Client(base).post("/echo", {"a": 1}).json() == {"a": 1}


def test_nginx_speaks_tls_and_asks_browsers_to_stay_with_it(
    nginx_binary: str, tmp_path: Path, echo: int
) -> None:
    with Nginx(tmp_path, (echo, echo)) as server:
        trusting = ssl.create_default_context(cafile=str(server.certificate))
        for port in server.tls_ports:
            connection = http.client.HTTPSConnection(HOST, port, timeout=5, context=trusting)
            connection.request("POST", "/echo", b"{}", {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"{}")
            assert answer.headers["Strict-Transport-Security"] == "max-age=63072000"
            connection.close()
        for base in (server.first, server.second):
            plain = Client(base).post("/echo", {})
            assert "Strict-Transport-Security" not in plain.headers


def test_only_ports_files_and_user_of_a_configuration_are_replaced() -> None:
    ports = {8080: 1, 3000: 2, 18080: 3, 13000: 4}
    config = relocated(
        "listen [::]:8080; listen 0.0.0.0:3000; server 127.0.0.1:18080; a 3000ms; b 18080.5;",
        Path("/p"),
        ports,
    )
    assert (
        config.splitlines()[-1]
        == "listen [::1]:1; listen 127.0.0.1:2; server 127.0.0.1:3; a 3000ms; b 18080.5;"
    )


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """The service on its embedded defaults, migrated, not yet started."""
    service = Service(tmp_path)
    service.migrate()
    return service


def test_the_service_answers_on_both_ports_and_leaves_nothing_behind(service: Service) -> None:
    with service:
        family = service.children()
        for base in (service.first, service.second):
            assert Client(base).get("/version").status == 200
    assert family
    assert all(is_gone(member.pid) for member in family)


def test_the_service_comes_back_after_a_crash(service: Service) -> None:
    with service:
        service.kill()
        assert wait_until(lambda: not service.children(), 10)
        service.start()
        assert Client(service.second).get("/version").status == 200


def test_the_service_runs_on_mariadb_and_redis(
    mariadb: MariaDB, redis_server: RedisServer, tmp_path: Path
) -> None:
    url = mariadb.create_database("harness")
    service = Service(
        tmp_path, {"AUTHSVC_DATABASE_URL": url, "AUTHSVC_REDIS_URL": redis_server.url}
    )
    service.migrate()
    with service:
        sign_up = {"username": "ada", "password": "Correct horse 1", "email": "ada@example.org"}
        answer = Client(service.first, source="127.0.0.2").post("/api/register", sign_up)
        assert answer.status == 201, answer.text
    assert mariadb.query("SHOW TABLES", "harness")


def test_the_service_tells_why_it_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(DidNotStart, match="AUTHSVC_ENVV"):
        Service(tmp_path, {"AUTHSVC_ENVV": "production"}).start()


def run_tests(*arguments: str, **env: str) -> tuple[int, str]:
    """Runs pytest on a machine without servers; returns its exit status and what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", BARE_MACHINE, *arguments],
        cwd=ROOT,
        env=processes.clean_environment() | env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return run.returncode, run.stdout + run.stderr


@pytest.fixture
def skipping_test(tmp_path: Path) -> str:
    """A file with a test that skips for a reason of its own."""
    file = tmp_path / "test_skipping.py"
    file.write_text("import pytest\ndef test_it(): pytest.skip('not today')\n")
    return str(file)


def test_without_servers_their_groups_are_skipped_and_named_with_the_command() -> None:
    status, output = run_tests(__file__, "-k", "nginx_passes or redis_keeps")
    assert "Skipped groups: Redis, nginx. To run them: sudo make test-servers" in output
    assert "2 skipped" in output
    assert status == 0


def test_without_servers_a_ci_run_fails() -> None:
    status, output = run_tests(__file__, "-k", "nginx_passes", CI="true")
    assert "group nginx needs nginx: sudo make test-servers" in output
    assert status == 1


def test_any_skip_fails_a_ci_run_and_no_other(skipping_test: str) -> None:
    assert run_tests("-p", "tests.conftest", skipping_test)[0] == 0
    status, output = run_tests("-p", "tests.conftest", skipping_test, CI="1")
    assert "CI is set, and 1 tests were skipped: the run has failed." in output
    assert status == 1


def test_a_missing_program_is_found_missing_and_servers_are_found_outside_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert binaries.Group("none", ("no-such-program",)).missing() == ["no-such-program"]
    monkeypatch.setenv("PATH", "/nonexistent")
    assert binaries.find("ldconfig") is not None
