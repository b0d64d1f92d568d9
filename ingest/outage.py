"""Outages: something that does not answer is told once, and once more when it is back."""

from __future__ import annotations

from typing import Any

import structlog

logger = structlog.get_logger()


class Outage:
    """Follows whether `what` answers, from any one thread."""

    def __init__(self, what: str, **context: Any) -> None:
        self._went, self._back = f"{what}_unavailable", f"{what}_available_again"
        self._context = context
        self.away = False
        """Whether the last attempt failed."""

    def note(self, error: Exception | None) -> None:
        """Note what an attempt ended with: an error, or (None) nothing to tell of."""
        if error is not None and not self.away:
            logger.warning(self._went, error=str(error), **self._context)
        elif error is None and self.away:
            logger.info(self._back, **self._context)
        self.away = error is not None


__all__ = ["Outage"]
