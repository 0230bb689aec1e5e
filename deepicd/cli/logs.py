"""structlog's configuration: to stderr, since stdout is for results. On a terminal lines for people, elsewhere logfmt, which
people and programs read (`key=value`, quoted if there is a space), or JSON on request.
"""

from __future__ import annotations

import logging
import math
import sys
from typing import Any

import structlog

SAID = "text"
"""Key of a line's own wording, for people: it says what the line's other keys say."""
_DIGITS = 4


def configure(*, as_json: bool, quiet: bool = False) -> None:
    """Set up logging for this process; `quiet`: only warnings and errors."""
    renderers: list[structlog.types.Processor]
    if as_json:
        stamp, renderers = "iso", [without_wording, structlog.processors.JSONRenderer()]
    elif sys.stderr.isatty():
        stamp, renderers = "%H:%M:%S", [rounded, for_people]
    else:
        stamp, renderers = "%Y-%m-%dT%H:%M:%SZ", [without_wording, rounded, logfmt()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt=stamp, utc=as_json or not sys.stderr.isatty()),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if quiet else logging.INFO),
        # Looked up for each logger: a live table puts its own stream there.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def logfmt() -> structlog.types.Processor:
    """Renders `timestamp=… level=… event=… run=… stage=…` and the other keys."""
    order = ("timestamp", "level", "event", "run", "stage")
    return structlog.processors.LogfmtRenderer(key_order=order, drop_missing=True, bool_as_flag=False)


def without_wording(logger: Any, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Leaves out `SAID`."""
    event.pop(SAID, None)
    return event


def rounded(logger: Any, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Rounds fractions to four digits, but no digit before the point."""
    return {name: _rounded(value) if isinstance(value, float) else value for name, value in event.items()}


def _rounded(value: float) -> float | int:
    if not math.isfinite(value):
        return value
    return round(value) if abs(value) >= 10 ** (_DIGITS - 1) else float(f"{value:.{_DIGITS}g}")


def for_people(logger: Any, method: str, event: structlog.types.EventDict) -> str:
    """Renders `12:05:40 warning: event: key value, key value`."""
    time, level, name = event.pop("timestamp"), event.pop("level"), event.pop("event")
    said = event.pop(SAID, None) or ", ".join(f"{key} {value}" for key, value in event.items())
    shown = name if level == "info" else f"{level}: {name}"
    return f"{time} {shown}" + (f": {said}" if said else "")
