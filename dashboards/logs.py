"""Logs of the parts: structured events on standard error, for people or for machines."""

from __future__ import annotations

import logging
import sys

import structlog

from dashboards.settings import LogSettings


def configure(settings: LogSettings) -> None:
    """Write events of at least `settings.level` to standard error, times in UTC."""
    renderer = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # a kept logger would write to a standard error that has been closed since
    )
