"""Sections of EPANET and SWMM input files as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def section(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a section: its name, a comment line with the columns, and a line a row.

    >>> print(section("PUMPS", (";ID", "Node1"), [("P-1", "A")]), end="")
    [PUMPS]
    ;ID Node1
    P-1 A
    """
    lines = [f"[{name}]"]
    if header:
        lines.append(" ".join(header))
    lines += [" ".join(_text(value) for value in row).rstrip() for row in rows]
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
