"""One process that is the service: WSGI calls without gunicorn, profiled or counted.

Run with the settings of a service in its environment, as `profile SECONDS` or as
`count MARIADB_PORT REDIS_PORT`. Whoever runs it has stored the user of `USER`.
"""

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any

import pymysql
from flask import Flask
from redis import Redis

from authsvc import settings
from authsvc.boot import app_or_exit
from authsvc.core.captchas import SIGN_UP
from authsvc.core.errors import CaptchaRejected
from tests.bench.counts import Counters, CountingProxy
from tests.bench.stage import PASSWORD
from tests.support import mariadb as mariadb_support
from tests.support.processes import HOST, clean_environment
from tests.support.service import ROOT

USER = "bench-0"
SAMPLE_SECONDS = 0.001

# The innermost frame that one of these describes tells the layer.
LAYERS = {
    "Redis round trips": r"/(redis|hiredis)/|/infra/(redis|sessions|guesses|captcha_store|pools)",
    "SQL": r"/(sqlalchemy|pymysql|flask_sqlalchemy)/"
    r"|/infra/(connections|database|deadlines|journal|notes|repeating|user|wire)",
    "hashing": r"/argon2/|/infra/(hash|foreign_hashes)",
    "JWT": r"/(jwt|flask_jwt_extended)/|/infra/(jwt|signing_keys)",
    "rate limiter": r"/limits/|/authsvc/web/limits|/infra/(rate|limit)",
    "schema": r"/marshmallow/|/authsvc/web/body",
    "JSON": r"/json/",
    "our hooks": r"/(flask_cors|structlog|logging|prometheus_client|opentelemetry)/"
    r"|/authsvc/(web|app|settings)|/infra/(logs|metric|server_log|traces)",
    "core and dialects": r"/authsvc/(core|dialects)/",
    "Flask: routing, dispatch": r"/(flask|werkzeug|blinker|click|itsdangerous)/",
}
OTHER = "the calling loop"

_PATTERNS = [(name, re.compile(pattern)) for name, pattern in LAYERS.items()]
_layer_of_file: dict[str, str | None] = {}


def run_inside(environment: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """Runs this module in a process of its own; returns what it found."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.bench.inside", *arguments],
        cwd=ROOT,
        env=clean_environment() | dict(environment),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


class Caller:
    """Calls an application as gunicorn does.

    Args:
        app: the application.
        port: of the socket that would have accepted the calls.
    """

    def __init__(self, app: Flask, port: int) -> None:
        self._app = app
        self._port = str(port)
        self._number = 0
        login = self.call(self.environ("POST", "/v1/login", self._credentials()))
        self._token = json.loads(login)["accessToken"]

    def operations(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """Returns operation → what makes a request of it."""
        return {
            "token check": lambda: self.environ("GET", "/v1/me", token=self._token),
            "captcha": lambda: self.environ("GET", "/captcha"),
            "login": lambda: self.environ("POST", "/login", self._credentials()),
            "sign-up": lambda: self.environ("POST", "/api/register", self._newcomer()),
        }

    def call(self, environ: dict[str, Any]) -> bytes:
        """Sends a request and returns the body of the answer, which is a success."""
        status = ""

        def start_response(told: str, *_: Any) -> Any:
            nonlocal status
            status = told

        answer = self._app(environ, start_response)
        body = b"".join(answer)
        getattr(answer, "close", int)()
        assert status[0] == "2", (status, body)
        return body

    def environ(self, method: str, path: str, body: Any = None, token: str = "") -> dict[str, Any]:
        raw = b"" if body is None else json.dumps(body).encode()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "RAW_URI": path,
            "SERVER_NAME": HOST,
            "SERVER_PORT": self._port,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": HOST,
            "HTTP_HOST": f"{HOST}:{self._port}",
            "HTTP_USER_AGENT": "bench",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(raw),
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        if body is not None:
            environ |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(raw))}
        if token:
            environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return environ

    def _credentials(self) -> dict[str, str]:
        return {"username": USER, "password": PASSWORD}

    def _newcomer(self) -> dict[str, str]:
        self._number += 1
        name = f"newcomer-{os.getpid()}-{self._number}"
        return {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}


class Sampler:
    """Looks, after each bit of CPU time, in which layer the main thread is."""

    def __init__(self) -> None:
        self.samples: Counter[str] = Counter()

    def __enter__(self) -> "Sampler":
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, _: int, frame: FrameType | None) -> None:
        while frame is not None:
            layer = _layer(frame.f_code.co_filename)
            if layer is not None:
                self.samples[layer] += 1
                return
            frame = frame.f_back
        self.samples[OTHER] += 1


def _layer(file: str) -> str | None:
    if file not in _layer_of_file:
        found = (name for name, pattern in _PATTERNS if pattern.search(file))
        _layer_of_file[file] = next(found, None)
    return _layer_of_file[file]


def profile(caller: Caller, seconds: float) -> dict[str, dict[str, float]]:
    """Returns operation → layer → CPU microseconds per request."""
    return {name: _profile_one(caller, make, seconds) for name, make in caller.operations().items()}


def _profile_one(
    caller: Caller, make: Callable[[], dict[str, Any]], seconds: float
) -> dict[str, float]:
    for _ in range(100):
        caller.call(make())
    requests, spent = 0, 0.0
    deadline = time.perf_counter() + seconds
    with Sampler() as sampler:
        while time.perf_counter() < deadline:
            environs = [make() for _ in range(50)]
            began = _own_cpu()
            for environ in environs:
                caller.call(environ)
            spent += _own_cpu() - began
            requests += len(environs)
    del sampler.samples[OTHER]
    each = spent / requests * 1e6 / max(1, sampler.samples.total())
    return {layer: count * each for layer, count in sampler.samples.items()}


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_utime + used.ru_stime


def count(arguments: list[str]) -> dict[str, dict[str, int]]:
    """Returns operation → what it asked of MariaDB and Redis, both reached through proxies."""
    database, store = int(arguments[0]), int(arguments[1])
    sql_proxy, redis_proxy = CountingProxy(database), CountingProxy(store)
    for name, real, proxy in (
        ("AUTHSVC_DATABASE_URL", database, sql_proxy),
        ("AUTHSVC_REDIS_URL", store, redis_proxy),
    ):
        os.environ[name] = os.environ[name].replace(f":{real}/", f":{proxy.port}/")
    app, caller = _application()
    mariadb = pymysql.connect(
        host=HOST, port=database, user=mariadb_support.USER, password=mariadb_support.PASSWORD
    )
    redis = Redis(host=HOST, port=store)
    counters = Counters(mariadb, redis, sql_proxy, redis_proxy)
    found = {}
    for name, make in caller.operations().items():
        caller.call(make())
        environ = make()
        found[name] = counters.of(lambda environ=environ: caller.call(environ))  # type: ignore[misc]
    with app.app_context():
        for _ in range(2):  # what is loaded once, at the first, does not count
            found["captcha redeem"] = counters.of(_redeem(app))
    return found


def _redeem(app: Flask) -> Callable[[], None]:
    """Return what burns a new captcha: a wrong answer asks Redis for as much as a right one."""
    captchas = app.extensions["authsvc"].captchas
    captcha_id = captchas.issue(SIGN_UP, HOST)

    def redeem() -> None:
        with suppress(CaptchaRejected):
            captchas.redeem(captcha_id, "wrong", SIGN_UP, HOST)

    return redeem


def _application() -> tuple[Flask, Caller]:
    app = app_or_exit()
    return app, Caller(app, settings.load().bind[0].port or 0)


def main(arguments: list[str]) -> None:
    if arguments[0] == "profile":
        _, caller = _application()
        found: Any = profile(caller, float(arguments[1]))
    else:
        found = count(arguments[1:])
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
