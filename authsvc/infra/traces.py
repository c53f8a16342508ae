"""Traces, where an operator names a collector: OpenTelemetry over OTLP, loaded only then."""

import functools
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Engine, event

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
FLUSH_SECONDS = 3.0
"""How long a process that ends waits for the collector to take its last spans."""

_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_SPAN = "_authsvc_span"


class Answered(Protocol):
    """What is known of a request that is answered."""

    request_id: str
    dialect: str
    operation: str
    outcome: str
    status: int
    method: str
    client: str
    route: str


def is_wanted() -> bool:
    """Tell whether the operator names a collector."""
    return bool(os.environ.get(ENDPOINT))


def is_installed() -> bool:
    """Tell whether what sends traces is there."""
    try:
        return all(importlib.util.find_spec(package) for package in _PACKAGES)
    except ModuleNotFoundError:
        return False


class Tracing:
    """Follows requests, and what they ask of hashes, the database and Redis; nothing else.

    No span holds a parameter, a key, or the text of an exception.
    """

    def __init__(self) -> None:
        from opentelemetry.trace import NoOpTracer

        self._provider: TracerProvider | None = None
        self._tracer: Tracer = NoOpTracer()

    def start(self) -> None:
        """Begin to send spans; in the process that serves, for no thread outlives a fork."""
        self._provider = _provider()
        self._tracer = self._provider.get_tracer("authsvc")

    def stop(self) -> None:
        """Send what is left, within `FLUSH_SECONDS`, and end."""
        if self._provider is not None:
            last = threading.Thread(target=self._provider.shutdown, daemon=True)
            last.start()
            last.join(FLUSH_SECONDS)
            self._provider = None

    @contextmanager
    def request(self, environ: Mapping[str, Any], *, believed: bool) -> Iterator["RequestSpan"]:
        """Follow a request, as part of its sender's trace if what it says is `believed`."""
        from opentelemetry.trace import SpanKind

        context = _context(environ if believed else {})
        with self._span("request", SpanKind.SERVER, {}, context) as span:
            yield RequestSpan(span, environ)

    def follow_hashes(self, hasher: Any) -> None:
        """Follow every hash of this hasher, the time in which it waits included."""
        from opentelemetry.trace import SpanKind

        for method in ("hash", "verify"):
            self._follow(hasher, method, lambda _: ("hash", SpanKind.INTERNAL, {}))

    def follow_redis(self, client: Any) -> None:
        """Follow every round trip of this client, by the names of its commands alone."""
        self._follow(client, "run", lambda calls: _commands([call.words[0] for call in calls]))

    def follow_database(self, engine: Engine) -> None:
        """Follow every statement of this engine, by its text without parameters."""
        from opentelemetry.trace import SpanKind

        def begin(_: Any, __: Any, statement: str, ___: Any, context: Any, ____: bool) -> None:
            if not _is_followed():
                return
            operation = statement.split(None, 1)[0].upper()
            told = {
                "db.system.name": engine.dialect.name,
                "db.operation.name": operation,
                "db.query.text": statement,
            }
            span = self._tracer.start_span(operation, kind=SpanKind.CLIENT, attributes=told)
            setattr(context, _SPAN, span)

        def end(_: Any, __: Any, ___: str, ____: Any, context: Any, _____: bool) -> None:
            if hasattr(context, _SPAN):
                getattr(context, _SPAN).end()

        def fail(failure: Any) -> None:
            span = getattr(failure.execution_context, _SPAN, None)
            if span is not None:
                _note_failure(span, type(failure.original_exception).__name__)
                span.end()

        event.listen(engine, "before_cursor_execute", begin)
        event.listen(engine, "after_cursor_execute", end)
        event.listen(engine, "handle_error", fail)

    def _follow(
        self, target: Any, method: str, describe: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    ) -> None:
        plain = getattr(target, method)

        @functools.wraps(plain)
        def followed(*args: Any, **options: Any) -> Any:
            if not _is_followed():
                return plain(*args, **options)
            with self._span(*describe(args)):
                return plain(*args, **options)

        setattr(target, method, followed)

    @contextmanager
    def _span(
        self, name: str, kind: Any, told: Mapping[str, str], context: "Context | None" = None
    ) -> Iterator["Span"]:
        with self._tracer.start_as_current_span(
            name,
            context,
            kind,
            told,
            # The text of an exception can hold what a client sent.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                _note_failure(span, type(error).__name__)
                raise


class RequestSpan:
    """The span of one request, while it is under way."""

    def __init__(self, span: "Span", environ: Mapping[str, Any]) -> None:
        self._span = span
        self._environ = environ

    def answered(self, answered: Answered) -> None:
        """Name the span, and say of it what OpenTelemetry's conventions for HTTP ask for."""
        span, status = self._span, answered.status
        span.update_name(f"{answered.dialect}.{answered.operation}")
        span.set_attributes(
            {
                "http.request.method": answered.method,
                "http.response.status_code": status,
                "url.scheme": self._environ["wsgi.url_scheme"],
                "client.address": answered.client,
                "authsvc.request_id": answered.request_id,
                "authsvc.outcome": answered.outcome,
            }
        )
        if answered.route:
            span.set_attribute("http.route", answered.route)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _note_failure(span, answered.outcome)


def _provider() -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = "OTEL_SERVICE_NAME" in os.environ
    resource = Resource.create({} if named else {"service.name": "authsvc"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _context(environ: Mapping[str, Any]) -> "Context":
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    names = ("traceparent", "tracestate")
    carried = {name: environ.get(f"HTTP_{name.upper()}", "") for name in names}
    return TraceContextTextMapPropagator().extract(carried, Context())


def _is_followed() -> bool:
    """Tell whether this happens within a request that is followed."""
    from opentelemetry.trace import get_current_span

    return get_current_span().get_span_context().is_valid


def _commands(names: list[str]) -> tuple[Any, ...]:
    from opentelemetry.trace import SpanKind

    name = names[0] if len(names) == 1 else "PIPELINE"
    return name, SpanKind.CLIENT, {"db.system.name": "redis", "db.operation.name": name}


def _note_failure(span: "Span", kind: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
