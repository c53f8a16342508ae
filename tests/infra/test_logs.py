"""The two forms of the log."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from authsvc.infra import logs
from tests.support.processes import clean_environment
from tests.support.service import ROOT

SCRIPT = """
import logging, sys
import structlog
from structlog.contextvars import bind_contextvars, unbind_contextvars
from authsvc.infra import logs

logs.configure("debug", "json")
logs.configure(*sys.argv[1:])
log = logging.getLogger("authsvc.test")
log.debug("small matter")
bind_contextvars(request_id="0123456789abcdef")
forged = "something \\n2026-01-01T00:00:00+00:00 ERROR authsvc: forged \\x1b[31m ü"
log.warning("%s happened", forged)
try:
    raise ValueError("first\\n2026-01-01T00:00:00+00:00 ERROR authsvc: forged")
except ValueError:
    log.exception("a crash")
unbind_contextvars("request_id")
log.error("outside")
access = structlog.get_logger().bind(logger="authsvc.access")
access.info("request", status=200, outcome="ok \\ud800")
"""


def written(level: str, form: str) -> list[str]:
    """Return the lines that a process writes to standard error."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, level, form],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert run.stdout == b""
    return run.stderr.decode().splitlines()


def test_json_is_an_object_on_each_line() -> None:
    events = [json.loads(line) for line in written("info", "json")]
    assert [event["level"] for event in events] == ["warning", "error", "error", "info"]
    warning, crash, outside, request = events
    assert warning["event"].startswith("something \n")
    assert warning["event"].endswith("happened")
    assert (warning["logger"], warning["request_id"]) == ("authsvc.test", "0123456789abcdef")
    assert "ValueError: first" in crash["exception"]
    assert crash["event"] == "a crash"
    assert "request_id" not in outside
    assert (request["logger"], request["status"]) == ("authsvc.access", 200)
    assert all(re.fullmatch(r"[\d-]{10}T[\d:.]{12}\+00:00", e["timestamp"]) for e in events)


def test_lines_are_for_people_and_nobody_forges_one() -> None:
    lines = written("debug", "lines")
    events = [line for line in lines if not line.startswith("  ")]
    plain = [line.partition(" ")[2] for line in events]
    assert plain[0] == "DEBUG authsvc.test: small matter"
    assert plain[1].startswith("WARNING authsvc.test: something \\n2026-01-01T")
    assert plain[1].endswith("forged \\x1b[31m ü happened [0123456789abcdef]")
    assert plain[2] == "ERROR authsvc.test: a crash [0123456789abcdef]"
    assert plain[3] == "ERROR authsvc.test: outside"
    assert plain[4] == "INFO authsvc.access: request status=200 outcome=ok \\ud800"
    assert len(plain) == 5
    assert any("ValueError: first" in line for line in lines)


def test_less_than_the_level_is_not_written() -> None:
    assert [json.loads(line)["event"] for line in written("error", "json")] == [
        "a crash",
        "outside",
    ]


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, whose handlers and level are given back; so is structlog's set-up."""
    root, quick = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    yield root
    root.handlers = handlers
    root.setLevel(level)
    structlog.configure(**quick)


def test_a_later_call_replaces_the_handler_and_no_other(root: logging.Logger) -> None:
    before = list(root.handlers)
    logs.configure("info", "lines")
    logs.configure("info", "json")
    assert [handler for handler in before if handler not in root.handlers] == []
    assert len(root.handlers) == len(before) + 1
