"""The log: one event per line on standard error, as JSON for machines or plain for people."""

import functools
import json
import logging
import sys
import time
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

JSON, LINES = "json", "lines"

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class _Handler(logging.StreamHandler[Any]):
    """Ours among the root logger's handlers."""


def configure(level: str, form: str) -> None:
    """Let every logger of this process write to standard error; a later call replaces this one.

    A line that is written while a request is answered tells the request's id.

    Args:
        level: the least that is written, as `info`.
        form: `JSON` or `LINES`.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    render = _render_json if form == JSON else _render_line
    handler = _Handler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=_BEFORE,
            processors=[ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [
        *(other for other in root.handlers if not isinstance(other, _Handler)),
        handler,
    ]
    root.setLevel(number)
    structlog.configure(
        # The quick way, past stdlib logging, for what is written of every request.
        processors=[structlog.processors.add_log_level, _add_time, render, _as_bytes],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
    )


def _add_time(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    moment = time.time() if record is None else record.created
    second = int(moment)
    event["timestamp"] = f"{_clock(second)}.{int((moment - second) * 1000):03}+00:00"
    return event


@functools.lru_cache(maxsize=2)
def _clock(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _render_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return _encode(event)


def _render_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    moment, level, logger = event.pop("timestamp"), event.pop("level"), event.pop("logger")
    text, request_id = event.pop("event"), event.pop("request_id", None)
    traceback = event.pop("exception", None)
    words = [f"{moment} {level.upper()} {logger}: {text}"]
    if request_id is not None:
        words.append(f"[{request_id}]")
    words += [f"{name}={value}" for name, value in event.items()]
    lines = [_printable(" ".join(words))]
    if traceback is not None:  # indented, so that no part of it passes for a line of its own
        lines += ["  " + _printable(line) for line in traceback.splitlines()]
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Return text in which no character ends the line or moves a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _as_bytes(_: WrappedLogger, __: str, line: Any) -> bytes:
    return bytes(line, "utf-8", "backslashreplace")


_BEFORE: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    _add_time,
    structlog.processors.format_exc_info,
]
