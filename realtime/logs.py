"""Log lines: for people, and for machines one JSON object each. What comes from strangers makes no line of its own, and no colour."""

from __future__ import annotations

import copy
import json
import logging
import textwrap
from datetime import UTC, datetime
from typing import Any


class JsonLines(logging.Formatter):
    """Time, level, logger, message, the session's id where there is one, the traceback of a bug."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if session := getattr(record, "session", None):
            line["session"] = session
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class PlainLines(logging.Formatter):
    """Time, level, logger, message: one line, whatever stands in the message. Lines of a traceback are indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        record = copy.copy(record)
        record.msg, record.args, record.exc_text = escaped(record.getMessage()), None, None
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  logging's name
        """See `logging.Formatter.formatException`."""
        return textwrap.indent(super().formatException(ei), "  ")


def escaped(text: str) -> str:
    """A text in which what is not printed (newlines, escapes, halves of characters) is written as Python would."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def plain_lines() -> logging.Handler:
    """A handler that writes them to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainLines())
    return handler


def json_lines() -> logging.Handler:
    """A handler that writes them to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    return handler
