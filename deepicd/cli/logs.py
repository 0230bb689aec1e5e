"""structlog's configuration: lines for people, or JSON on request; to stderr, since stdout is for results."""

from __future__ import annotations

import logging
import sys

import structlog


def configure(*, as_json: bool, quiet: bool = False) -> None:
    """Set up logging for this process; `quiet`: only warnings and errors."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=16)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if quiet else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
