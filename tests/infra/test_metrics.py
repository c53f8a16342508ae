"""What is counted, and that nothing which many processes count is lost."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from authsvc.core.events import CAPTCHA_EVENTS, SESSION_EVENTS, Events
from authsvc.infra.metrics import Metrics
from tests.support.processes import clean_environment
from tests.support.service import ROOT

SERIES = {
    "authsvc_requests",
    "authsvc_request_seconds",
    "authsvc_hash_seconds",
    "authsvc_hash_wait_seconds",
    "authsvc_hash_queue",
    "authsvc_hashes_refused",
    "authsvc_captchas",
    "authsvc_sessions",
    "authsvc_database_connections",
    "authsvc_redis_connections",
}

# A master whose workers come and go, as gunicorn's do: each counts, queues a hash, and is killed.
FORKS = """
import os, signal
from authsvc.infra import metric_files
metric_files.share()
metric_files.share()
from authsvc.infra.metrics import Metrics
metrics = Metrics()
living = {}
def begin():
    number = metric_files.free_number(living.values())
    pid = os.fork()
    if pid:
        living[pid] = number
        os.waitpid(pid, os.WUNTRACED)
        return pid
    metric_files.take(number)
    for _ in range(100):
        metrics.answered("session", "log_in", "ok", 0.003)
    metrics.queued(+1)
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(1)
def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    metric_files.mark_dead(living.pop(pid))
for _ in range(20):
    pair = begin(), begin()
    for pid in pair:
        end(pid)
last = begin()
print(metrics.exposition().decode())
print("#files", *sorted(file.name for file in metric_files.folder().iterdir()))
end(last)
print("#after", metrics.exposition().decode().count("authsvc_hash_queue 0.0"))
"""


def values(metrics: Metrics | str) -> dict[str, float]:
    """Return the value of every series, by its name and its labels in order."""
    text = metrics if isinstance(metrics, str) else metrics.exposition().decode()
    return {
        ":".join(
            [sample.name, *(sample.labels[label] for label in sorted(sample.labels))]
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_series_is_there_before_anything_happens() -> None:
    text = Metrics().exposition().decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert names >= SERIES
    found = values(text)
    assert all(found[f"authsvc_captchas_total:{event}"] == 0 for event in CAPTCHA_EVENTS)
    assert all(found[f"authsvc_sessions_total:{event}"] == 0 for event in SESSION_EVENTS)


def test_answers_are_counted_and_timed_by_what_was_asked() -> None:
    metrics = Metrics()
    for outcome in ("ok", "ok", "invalid_credentials"):
        metrics.answered("token", "log_in", outcome, 0.02)
    found = values(metrics)
    assert found["authsvc_requests_total:token:log_in:ok"] == 2
    assert found["authsvc_requests_total:token:log_in:invalid_credentials"] == 1
    assert found["authsvc_request_seconds_count:token:log_in"] == 3
    assert found["authsvc_request_seconds_bucket:token:0.01:log_in"] == 0
    assert found["authsvc_request_seconds_bucket:token:0.025:log_in"] == 3


def test_hashes_are_queued_measured_and_refused() -> None:
    metrics = Metrics()
    metrics.queued(+1)
    metrics.queued(+1)
    metrics.queued(-1)
    metrics.hashed(waited=0.5, took=0.02)
    metrics.refused()
    found = values(metrics)
    assert found["authsvc_hash_queue"] == 1
    assert found["authsvc_hash_wait_seconds_sum"] == 0.5
    assert found["authsvc_hash_seconds_sum"] == 0.02
    assert found["authsvc_hashes_refused_total"] == 1


def test_events_are_counted() -> None:
    metrics = Metrics()
    events: Events = metrics
    events.captcha("solved")
    events.session("ended")
    metrics.in_use(3, 2)
    found = values(metrics)
    assert found["authsvc_captchas_total:solved"] == 1
    assert found["authsvc_sessions_total:ended"] == 1
    assert (found["authsvc_database_connections"], found["authsvc_redis_connections"]) == (3, 2)


def test_forty_workers_that_were_killed_are_counted_in_the_files_of_two(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FORKS],
        cwd=ROOT,
        env=clean_environment() | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    text, _, rest = run.stdout.partition("#files ")
    found = values(text)
    assert found["authsvc_requests_total:session:log_in:ok"] == 4100
    assert found["authsvc_request_seconds_count:session:log_in"] == 4100
    assert found["authsvc_hash_queue"] == 1
    files, _, after = rest.partition("#after ")
    counters = [name for name in files.split() if name.startswith("counter")]
    assert counters == ["counter_0.db", "counter_1.db", "counter_master.db"]
    assert after.strip() == "1"
    assert os.listdir(tmp_path) == []
