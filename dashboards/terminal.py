"""What others sent, as text that does a terminal no harm."""

from __future__ import annotations


def harmless(text: str, *, lines: bool = False) -> str:
    r"""Return `text` with what cannot be printed escaped: no device moves the cursor or makes up a line of a list.

    With `lines`, its line ends stay.

    >>> harmless("unit \x1b[2J")
    'unit \\x1b[2J'
    """
    return "".join(c if c.isprintable() or (lines and c == "\n") else c.encode("unicode_escape").decode() for c in text)


__all__ = ["harmless"]
