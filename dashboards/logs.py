"""Logs of the parts: structured events on standard error, for people or for machines."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from dashboards.setting_sections import LogSettings
from dashboards.terminal import harmless
from twin.errors import without_secrets


def configure(settings: LogSettings) -> None:
    """Write events of at least `settings.level` to standard error, times in UTC, secrets of URLs masked."""
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
            _masked,
            *(() if settings.format == "json" else (_harmless,)),  # JSON escapes by itself
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # a kept logger would write to a standard error that has been closed since
    )


def _masked(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the secrets of URLs in what is about to be written, tracebacks and foreign libraries' words included."""
    return {key: without_secrets(value) if isinstance(value, str) else value for key, value in event.items()}


def _harmless(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what would move a terminal's cursor: senders choose the names that they are refused by."""
    return {key: harmless(value, lines=True) if isinstance(value, str) else value for key, value in event.items()}
