"""Reports on paper: sections of lines and tables, written as text for a terminal or as one HTML page for a printer.

The page asks for nothing from outside and runs nothing; a browser prints it, or saves it as PDF.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sensors.wording import Language


@dataclass(frozen=True, slots=True)
class Bars:
    """A picture: a bar a value, the worse than `limit` in red, and a line at it; `labels` under first and last."""

    values: tuple[int, ...]
    limit: float
    labels: tuple[str, str]
    title: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report: lines, then a table (a row is as long as `head`), then a picture.

    `empty` is said where there is nothing else.
    """

    title: str
    lines: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    bars: Bars | None = None
    empty: str = ""


@dataclass(frozen=True, slots=True)
class Paper:
    """A report: its title, what it is about (name, value), its sections, and who signs it."""

    title: str
    language: Language
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    signatures: tuple[str, ...] = ()


def as_text(paper: Paper) -> str:
    """Return the report as plain text; columns are as wide on a terminal as their widest cell, Chinese ones too."""
    lines = [paper.title, *(f"{name}: {value}" for name, value in paper.facts)]
    for section in paper.sections:
        lines += ["", f"== {section.title}", *section.lines]
        if section.rows:
            lines += _aligned([section.head, *section.rows])
        elif not section.lines:
            lines.append(section.empty)
    if paper.signatures:
        lines += ["", "    ".join(f"{name}: ____________" for name in paper.signatures)]
    return "\n".join(lines) + "\n"


def as_html(paper: Paper) -> str:
    """Return the report as one HTML page that is complete in itself."""
    return "\n".join(_page(paper)) + "\n"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _width(text: str) -> int:
    """Return the columns of a terminal that `text` takes (Unicode TR 11: wide and full-width take two)."""
    return sum(2 if unicodedata.east_asian_width(each) in {"W", "F"} else 1 for each in text)


_STYLE = """
body { font: 10pt/1.5 "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif; max-width: 190mm;
  margin: 8mm auto; color: #111; background: #fff; padding: 0 4mm }
h1 { font-size: 16pt; margin: 0 0 2mm } h2 { font-size: 12pt; margin: 6mm 0 1mm; border-bottom: 1px solid #888 }
table { border-collapse: collapse; width: 100%; font-size: 9pt } thead { display: table-header-group }
th, td { text-align: left; vertical-align: top; padding: 0.6mm 1.5mm; border-bottom: 1px solid #ccc;
  overflow-wrap: anywhere }
tr { break-inside: avoid } h2 { break-after: avoid } dl { display: grid; grid-template-columns: max-content 1fr;
  gap: 0 4mm; margin: 0 } dt { color: #555 } dd { margin: 0 } ul { margin: 1mm 0; padding-left: 5mm }
.empty { color: #555 } .sign span { display: inline-block; margin: 12mm 8mm 0 0; padding-right: 40mm;
  border-bottom: 1px solid #111 } svg { width: 100%; height: auto }
@page { size: A4; margin: 14mm }
@media print { body { margin: 0; max-width: none; padding: 0 } }
"""


def _page(paper: Paper) -> Iterator[str]:
    language = "zh-CN" if paper.language == "zh" else "en"
    yield f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>{_safe(paper.title)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{_safe(paper.title)}</h1><dl>"
    yield from (f"<dt>{_safe(name)}</dt><dd>{_safe(value)}</dd>" for name, value in paper.facts)
    yield "</dl>"
    for section in paper.sections:
        yield f"<section><h2>{_safe(section.title)}</h2>"
        yield from _body(section)
        yield "</section>"
    if paper.signatures:
        yield f'<p class="sign">{"".join(f"<span>{_safe(name)}</span>" for name in paper.signatures)}</p>'
    yield "</body></html>"


def _body(section: Section) -> Iterator[str]:
    if section.lines:
        yield f"<ul>{''.join(f'<li>{_safe(line)}</li>' for line in section.lines)}</ul>"
    if section.rows:
        heads = "".join(f'<th scope="col">{_safe(cell)}</th>' for cell in section.head)
        yield f"<table><thead><tr>{heads}</tr></thead><tbody>"
        for row in section.rows:
            yield f"<tr>{''.join(f'<td>{_safe(cell)}</td>' for cell in row)}</tr>"
        yield "</tbody></table>"
    elif not section.lines:
        yield f'<p class="empty">{_safe(section.empty)}</p>'
    if section.bars is not None and section.bars.values:
        yield from _picture(section.bars)


_WIDE, _HIGH, _FOOT = 960.0, 160.0, 20.0


def _picture(bars: Bars) -> Iterator[str]:
    """Yield the bars as SVG: drawn here, so that the page needs nothing else."""
    most = max(*bars.values, bars.limit * 1.1, 1.0)
    step = _WIDE / len(bars.values)
    yield f'<svg viewBox="0 0 {_WIDE:g} {_HIGH + _FOOT:g}" role="img"><title>{_safe(bars.title)}</title>'
    for n, value in enumerate(bars.values):
        high = _HIGH * value / most
        colour = "#c0392b" if value > bars.limit else "#3b6ea5"
        place = f'x="{n * step:.2f}" y="{_HIGH - high:.2f}" width="{max(step * 0.85, 0.5):.2f}" height="{high:.2f}"'
        yield f'<rect {place} fill="{colour}"/>'
    line = _HIGH - _HIGH * bars.limit / most
    yield f'<line x1="0" x2="{_WIDE:g}" y1="{line:.2f}" y2="{line:.2f}" stroke="#c0392b" stroke-dasharray="6 4"/>'
    yield f'<line x1="0" x2="{_WIDE:g}" y1="{_HIGH:g}" y2="{_HIGH:g}" stroke="#888"/>'
    yield f'<text x="4" y="{line - 4:.2f}" font-size="12" fill="#c0392b">{bars.limit:g}</text>'
    for place, anchor, label in ((0.0, "start", bars.labels[0]), (_WIDE, "end", bars.labels[1])):
        yield (f'<text x="{place:g}" y="{_HIGH + 15:g}" font-size="12" text-anchor="{anchor}">{_safe(label)}</text>')
    yield "</svg>"


def _safe(text: str) -> str:
    """Return text that stands for itself in HTML; what nobody can see becomes a mark that everybody can."""
    return html.escape("".join(each if each.isprintable() else "\ufffd" for each in text))


__all__ = ["Bars", "Paper", "Section", "as_html", "as_text"]
