"""Logs: one line per event, as text or as JSON, each with the id of the request that it belongs to."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

from opentelemetry import trace

__all__ = ["REQUEST_ID", "configure_logging", "request_id", "request_id_of"]

# The metadata key, of a call as of its answer.
REQUEST_ID: Final = "x-request-id"
# What a caller sends ends up in logs: nothing that could break a line or fill a disk.
_ACCEPTABLE: Final = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")
# What logging puts into every record; the rest came with `extra`.
_ORDINARY: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that this task works for; empty outside of calls."""


def request_id_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The id that the caller sent, or a new one where there is none or one that does not belong into a log."""
    for key, value in metadata:
        if key == REQUEST_ID and isinstance(value, str) and _ACCEPTABLE.fullmatch(value):
            return value
    return uuid.uuid4().hex


def configure_logging(level: str, *, format: str = "text") -> None:
    """Write one line per event to standard error; `format` is text or json."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    # pymilvus logs every failed call with a traceback; ours says it once.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    # They log what they send, which is vectors and whatever else a row holds.
    for name in ("aiosqlite", "asyncpg", "botocore", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)


class TextFormatter(logging.Formatter):
    """For people: time, level, logger, sentence, and the request in brackets."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        id = request_id.get()
        line = super().formatMessage(record)
        return f"{line} [{id}]" if id else line


class JsonFormatter(logging.Formatter):
    """For machines: one object per line, with whatever `extra` brought, the request and the trace."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": time,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _ORDINARY}
        if id := request_id.get():
            line["request_id"] = id
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line |= {"trace_id": trace.format_trace_id(span.trace_id), "span_id": trace.format_span_id(span.span_id)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)
