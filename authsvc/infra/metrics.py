"""What Prometheus is told."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from authsvc.core.events import CAPTCHA_EVENTS, SESSION_EVENTS
from authsvc.infra import metric_files

# prettier steps would cost more: each bucket is a series for every operation
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class _Answers:
    """The series of one dialect, operation and outcome, looked up once."""

    count: Callable[[], None]
    time: Callable[[float], None]


class Metrics:
    """Counts and measures, and meets `authsvc.core.events.Events`.

    In a process for itself or, after `metric_files.share`, for all workers together. Every
    label has few values: none is a path, an id or a name.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._answers: dict[tuple[str, str, str], _Answers] = {}
        self._requests = Counter(
            "authsvc_requests_total",
            "Requests that were answered.",
            ("dialect", "operation", "outcome"),
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            "authsvc_request_seconds",
            "Seconds until the answer was ready.",
            ("dialect", "operation"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._hash_seconds = self._histogram("hash_seconds", "Seconds that a hash took.")
        self._hash_wait = self._histogram("hash_wait_seconds", "Seconds until a hash began.")
        self._hash_queue = self._gauge("hash_queue", "Hashes that wait or are being computed.")
        self._hashes_refused = Counter(
            "authsvc_hashes_refused_total",
            "Hashes that were refused, because too many waited or for too long.",
            registry=self._registry,
        )
        captchas = self._events("captchas_total", "What happened to captchas.")
        self._captchas = {event: captchas.labels(event) for event in CAPTCHA_EVENTS}
        sessions = self._events("sessions_total", "What happened to sessions.")
        self._sessions = {event: sessions.labels(event) for event in SESSION_EVENTS}
        self._database = self._gauge("database_connections", "Database connections in use.")
        self._redis = self._gauge("redis_connections", "Redis connections in use.")

    def answered(self, dialect: str, operation: str, outcome: str, seconds: float) -> None:
        """Count an answer, and the seconds that it took."""
        key = (dialect, operation, outcome)
        answers = self._answers.get(key) or self._look_up(key)
        answers.count()
        answers.time(seconds)

    def queued(self, change: int) -> None:
        """Change by how many hashes wait or are being computed."""
        self._hash_queue.inc(change)

    def hashed(self, waited: float, took: float) -> None:
        """Measure a hash: the seconds until it began, and those that it took."""
        self._hash_wait.observe(waited)
        self._hash_seconds.observe(took)

    def refused(self) -> None:
        """Count a hash that was refused."""
        self._hashes_refused.inc()

    def captcha(self, event: str) -> None:
        """Count what happened to a captcha."""
        self._captchas[event].inc()

    def session(self, event: str) -> None:
        """Count what happened to a session."""
        self._sessions[event].inc()

    def in_use(self, database: int, redis: int) -> None:
        """Tell how many connections this process uses now."""
        self._database.set(database)
        self._redis.set(redis)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        folder = metric_files.folder()
        if folder is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, str(folder))  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _look_up(self, key: tuple[str, str, str]) -> _Answers:
        answers = _Answers(
            self._requests.labels(*key).inc, self._request_seconds.labels(*key[:2]).observe
        )
        self._answers[key] = answers
        return answers

    def _histogram(self, name: str, told: str) -> Histogram:
        return Histogram(f"authsvc_{name}", told, buckets=_SECONDS, registry=self._registry)

    def _gauge(self, name: str, told: str) -> Gauge:
        return Gauge(f"authsvc_{name}", told, multiprocess_mode="livesum", registry=self._registry)

    def _events(self, name: str, told: str) -> Counter:
        return Counter(f"authsvc_{name}", told, ("event",), registry=self._registry)
