"""The one error tree of Chengmai.

::

    ChengmaiError                 whatever a person has to be told in one line
    ├── InputError                a file or value that cannot be used
    │   ├── CrsError              a coordinate reference system that does not exist or does not fit
    │   └── SettingsError         a setting that is misspelt, misplaced or out of range
    ├── UnknownError              an asset, device, alarm or series that nobody knows
    ├── StaleError                a change that named a version which is no longer the newest
    ├── BusyError                 a port, file or database that somebody else holds
    ├── UnavailableError          a broker, store or database that does not answer
    └── RefusedError              a message that the contract refuses (codes of docs/devices.md)

Each error says what is wrong, where, and what was expected; `str()` of it is the one line that a person reads.
"""

from __future__ import annotations

import re
from typing import ClassVar

_PASSWORD = re.compile(r"(://[^/?#\s:@]*):\S*@")
_TOKEN = re.compile(r"([?&](?:token|password|secret|api_?key|u|p)=)[^&\s]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Return a text with the passwords and tokens of the URLs in it masked: what a message or a log may say.

    >>> without_secrets("postgresql://city:s3c/r@t@db/ops does not answer; http://store/write?db=x&token=abc")
    'postgresql://city:***@db/ops does not answer; http://store/write?db=x&token=***'
    """
    return _TOKEN.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))


class ChengmaiError(Exception):
    """Something that a person has to be told: what is wrong, where, and what was expected.

    `code` is stable and machine-readable, and goes into receipts; `where` is a file, topic, id or setting. Secrets of
    URLs are masked, wherever they stand.
    """

    default_code: ClassVar[str] = "E_ERROR"

    def __init__(self, what: str, *, where: str = "", expected: str = "", code: str = "") -> None:
        super().__init__(without_secrets(what))
        self.what = without_secrets(what)
        self.where = without_secrets(where)
        self.expected = expected
        self.code = code or self.default_code

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        wanted = f" (expected {self.expected})" if self.expected else ""
        return f"{self.code} {place}{self.what}{wanted}"

    def __reduce__(self) -> tuple[object, ...]:
        """Cross process boundaries with every field: load workers raise these."""
        return _rebuild, (type(self), self.what, self.where, self.expected, self.code)


def _rebuild(kind: type[ChengmaiError], what: str, where: str, expected: str, code: str) -> ChengmaiError:
    return kind(what, where=where, expected=expected, code=code)


class InputError(ChengmaiError):
    """A file or value that cannot be used.

    Codes of files: E_MISSING, E_EMPTY, E_TRUNCATED, E_ENCODING, E_FORMAT, E_SCHEMA, E_INVALID, E_TIMEOUT.
    """

    default_code = "E_INPUT"


class CrsError(InputError):
    """A coordinate reference system that does not exist, or does not fit the data."""

    default_code = "E_CRS"


class SettingsError(InputError):
    """A setting that is misspelt, misplaced or out of range."""

    default_code = "E_SETTING"


class UnknownError(ChengmaiError):
    """An asset, device, alarm or series that nobody knows."""

    default_code = "E_UNKNOWN"


class StaleError(ChengmaiError):
    """A change that named a version which is no longer the newest."""

    default_code = "E_STALE"


class BusyError(ChengmaiError):
    """A port, file or database that somebody else holds."""

    default_code = "E_BUSY"


class UnavailableError(ChengmaiError):
    """A broker, store or database that does not answer; `retry_s` is how long it asks to be left alone."""

    default_code = "E_UNAVAILABLE"

    def __init__(
        self, what: str, *, where: str = "", expected: str = "", code: str = "", retry_s: float | None = None
    ) -> None:
        super().__init__(what, where=where, expected=expected, code=code)
        self.retry_s = retry_s


class RefusedError(ChengmaiError):
    """A message that the contract refuses; `code` is one of the contract's (E_JSON, E_NAN, E_FUTURE, …)."""

    default_code = "E_REFUSED"
