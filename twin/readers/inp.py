"""Input files of EPANET and SWMM: sections of lines of words, comments after a semicolon."""

from __future__ import annotations

import re
import shlex
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from twin.errors import InputError
from twin.model import Issue
from twin.readers.text import decode

_HEADER = re.compile(rb"^[ \t\xef\xbb\xbf]*\[([A-Za-z_ ]+)\]?", re.MULTILINE)
_LINE_END = re.compile(r"\r\n|\r|\n")
"""`str.splitlines` would also break a line at U+0085, which an ellipsis of Windows becomes when read as Latin-1."""
_LOOKED_AT = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a section: its words, where it stands for an error message, and the description of its object."""

    words: Sequence[str]
    number: int
    where: str
    description: str = ""

    def text(self, index: int, name: str) -> str:
        """Return word `index`; InputError E_SYNTAX where the line ends before it."""
        if index >= len(self.words):
            raise self.error(f"has no {name}", f"{index + 1} or more words")
        return self.words[index]

    def maybe(self, index: int, default: str = "") -> str:
        """Return word `index`, `default` where the line ends before it."""
        return self.words[index] if index < len(self.words) else default

    def number_at(self, index: int, name: str) -> float:
        """Return word `index` as a finite number; InputError E_SYNTAX where it is none."""
        return self._number(self.text(index, name), name)

    def maybe_number(self, index: int, name: str, default: float = 0.0) -> float:
        """Return word `index` as a number, `default` where the line ends before it or has ``*`` there."""
        word = self.maybe(index)
        return default if word in ("", "*") else self._number(word, name)

    def _number(self, word: str, name: str) -> float:
        try:
            value = float(word)
        except ValueError:
            raise self.error(f"{name} is {word[:40]!r}", "a number") from None
        if value - value != 0:  # infinite or not a number
            raise self.error(f"{name} is {word[:40]!r}", "a finite number")
        return value

    def error(self, what: str, expected: str, code: str = "E_SYNTAX") -> InputError:
        """Return an error about this line."""
        return InputError(what, where=f"{self.where} line {self.number}", expected=expected, code=code)


@dataclass(frozen=True, slots=True)
class Inp:
    """A whole input file: its sections by upper-case name, the encoding it was read in, and doubts.

    `rest` is the text of the sections that no asset holds, as written and in their order, comments included.
    """

    sections: Mapping[str, Sequence[Line]]
    encoding: str
    issues: Sequence[Issue] = field(default_factory=list[Issue])
    rest: str = ""

    @property
    def remainder(self) -> bytes:
        """The `rest` as `twin.model.Model.remainder` keeps it: UTF-8, zlib-compressed."""
        return zlib.compress(self.rest.encode("utf-8"), 9)

    def lines(self, section: str) -> Sequence[Line]:
        """Return the lines of a section, none where it is missing."""
        return self.sections.get(section, ())

    def option(self, name: str, default: str) -> str:
        """Return the value of ``[OPTIONS] NAME value`` in upper case; a name may be two words."""
        wanted = name.split()
        for line in self.lines("OPTIONS"):
            words = [word.upper() for word in line.words]
            if words[: len(wanted)] == wanted and len(words) > len(wanted):
                return words[len(wanted)]
        return default


def section_names(path: Path) -> set[str]:
    """Return the upper-case names of the sections in the first 8 MB of a file."""
    with path.open("rb") as file:
        data = file.read(_LOOKED_AT)
    return {name.decode("ascii").strip().upper() for name in _HEADER.findall(data)}


def read_inp(path: Path, known: Collection[str], *, held: Collection[str] = (), described_above: bool = False) -> Inp:
    """Read an input file whose section names are among `known` (four letters are enough, as the engines take them).

    The sections `held` become assets; the text of every other one is kept whole in `Inp.rest`. An object's description
    is the comment that ends its line (EPANET 2.2, EN_getcomment) or, where `described_above`, also the line above that
    begins with a single semicolon (SWMM's editor).

    Raises InputError E_MISSING, E_EMPTY, E_ENCODING, or E_SYNTAX naming the line.
    """
    text, encoding = decode(path.read_bytes(), str(path))
    if not text.strip():
        raise InputError("is empty", where=str(path), expected="an input file", code="E_EMPTY")
    inp = parse_inp(text, str(path), known, held=held, described_above=described_above)
    if encoding in ("utf-8", "utf-8-sig"):
        return inp
    return replace(
        inp, encoding=encoding, issues=[Issue("E_ENCODING", f"is not UTF-8; read as {encoding}"), *inp.issues]
    )


def parse_inp(
    text: str, where: str, known: Collection[str], *, held: Collection[str] = (), described_above: bool = False
) -> Inp:
    """Return the sections of the text of an input file, which `where` names in errors; otherwise as `read_inp`."""
    issues: list[Issue] = []
    sections: dict[str, list[Line]] = {}
    current: list[Line] | None = None
    shorter = {name[:4]: name for name in known}
    above, rest, resting = "", list[str](), True
    for number, raw in enumerate(_LINE_END.split(text), start=1):
        stripped, _, comment = (part.strip() for part in raw.partition(";"))
        if stripped.startswith("["):
            name = stripped.strip("[] \t").upper()
            full = name if name in known else shorter.get(name[:4], "")
            if not full:
                issues.append(Issue("E_SECTION", f"line {number}: section [{name[:40]}] is not known; kept as text"))
            current = sections.setdefault(full or name, [])
            resting = full not in held
        if resting:
            rest.append(raw)
        if not stripped:
            above = comment if described_above and not comment.startswith(";") else ""
        elif current is None:
            raise InputError("text before the first section", where=f"{where} line {number}", code="E_SYNTAX")
        elif not stripped.startswith("["):
            current.append(Line(_words(stripped), number, where, comment or above))
            above = ""
    return Inp(sections, "utf-8", issues, "\n".join(rest))


def _words(text: str) -> Sequence[str]:
    """Split at blanks; SWMM's names may stand in double quotes."""
    if '"' not in text:
        return text.split()
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.quotes, lexer.commenters, lexer.escape = True, '"', "", ""
    try:
        return list(lexer)
    except ValueError:  # a single quotation mark, as in a title
        return text.split()
