"""Traces, as a collector receives them; and what happens where nothing can be sent."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from authsvc import settings
from authsvc.app import create_app
from authsvc.cautions import cautions
from authsvc.infra import traces
from tests.e2e.frontends import FAST
from tests.infra.databases import migrated
from tests.support.client import Client
from tests.support.mariadb import MariaDB
from tests.support.processes import HOST, clean_environment, free_port
from tests.support.redis import RedisServer
from tests.support.service import ROOT, Service

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
PASSWORD, EMAIL = "Marked-Pass-0ne-quail", "marked-traced@example.com"


class Collector:
    """What takes spans over OTLP and HTTP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://{HOST}:{self._server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        self.raw += body
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            told = attributes_of(resource.resource)
            assert told["service.name"] == "authsvc"
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def children(self, parent: Span) -> list[Span]:
        return [span for span in self.spans if span.parent_span_id == parent.span_id]

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def attributes_of(told: Any) -> dict[str, Any]:
    """Return what is told of a span or a resource."""
    return {one.key: one.value.string_value or one.value.int_value for one in told.attributes}


@pytest.fixture
def environment(mariadb: MariaDB, redis_server: RedisServer) -> dict[str, str]:
    """Settings over real stores; the last spans are sent when the service stops."""
    url = mariadb.create_database()
    with migrated(url):
        pass
    return {
        **FAST,
        "AUTHSVC_DATABASE_URL": url,
        "AUTHSVC_REDIS_URL": redis_server.url,
        "AUTHSVC_WORKERS": "2",
        "AUTHSVC_TRUSTED_PROXIES": HOST,
        "OTEL_BSP_SCHEDULE_DELAY": "60000",
    }


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def test_a_request_is_followed_to_hashes_statements_and_redis_and_sent_when_workers_stop(
    environment: dict[str, str], collector: Collector, tmp_path: Path
) -> None:
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
    who = {"username": "traced", "password": PASSWORD}
    with Service(tmp_path, environment) as service:
        client = Client(service.first)
        answer = client.post("/api/register", who | {"email": EMAIL}, headers=TRACEPARENT)
        assert answer.status == 201
        stranger = Client(service.first, source="127.0.0.2")
        stranger.post("/login", who | {"password": "wrong"}, headers=TRACEPARENT)
        client.get("/captcha/unknown")

    [registered] = collector.named("token.register")
    assert registered.trace_id.hex() == TRACE
    assert registered.parent_span_id.hex() == PARENT
    assert registered.kind == Span.SPAN_KIND_SERVER
    assert attributes_of(registered) == {
        "http.request.method": "POST",
        "http.response.status_code": 201,
        "http.route": "/api/register",
        "url.scheme": "http",
        "client.address": HOST,
        "authsvc.request_id": answer.headers["X-Request-ID"],
        "authsvc.outcome": "ok",
    }
    children = collector.children(registered)
    assert {"hash", "INSERT", "EVALSHA"} <= {span.name for span in children}
    statements = [str(attributes_of(span).get("db.query.text", "")) for span in children]
    assert any(statement.startswith("INSERT INTO users") for statement in statements)
    assert all(span.start_time_unix_nano < span.end_time_unix_nano for span in collector.spans)

    [refused] = collector.named("session.log_in")
    assert refused.trace_id.hex() != TRACE
    assert attributes_of(refused)["authsvc.outcome"] == "invalid_credentials"
    assert refused.status.code == Status.STATUS_CODE_UNSET

    [failed] = collector.named("session.captcha_image")
    assert attributes_of(failed)["http.route"] == "/captcha/<captcha_id>"
    assert failed.status.code == Status.STATUS_CODE_ERROR

    # What the service asks for itself, such as whether there is mail, is no request.
    roots = {span.name for span in collector.spans if not span.parent_span_id}
    assert not roots & {"SELECT", "PING", "EVALSHA", "hash"}
    assert len(collector.raw) > 1000
    for secret in (PASSWORD, EMAIL, "traced"):
        assert secret.encode() not in collector.raw


def test_a_collector_that_is_not_there_holds_up_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{HOST}:{free_port()}"
    environment["OTEL_BSP_SCHEDULE_DELAY"] = "100"
    with Service(tmp_path, environment) as service:
        assert [Client(service.first).get("/version").status for _ in range(5)] == [200] * 5
        time.sleep(0.5)  # the spans are being sent in vain
        began = time.monotonic()
        service.stop()
        assert time.monotonic() - began < service.stop_seconds / 2


def test_nothing_that_sends_is_loaded_where_no_collector_is_named(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom authsvc.boot import app_or_exit\napp_or_exit()\n"
        "print('opentelemetry.exporter' in sys.modules, 'opentelemetry.sdk.trace' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=clean_environment() | {"AUTHSVC_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout == "False False\n", run.stderr


def test_production_without_the_extra_is_told_so_and_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv(traces.ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setattr(traces, "_PACKAGES", ("opentelemetry_missing.sdk",))
    chosen = settings.load()
    sentence = f"{traces.ENDPOINT} is set, but no traces are sent: opentelemetry is not installed."
    assert sentence in cautions(chosen)
    answer = create_app(chosen).test_client().get("/version")
    assert answer.status_code == 200
