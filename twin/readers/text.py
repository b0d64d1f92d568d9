"""Text of files whose encoding nobody wrote down: UTF-8, both that and GBK by turns, GBK, Latin-1; and which it was."""

from __future__ import annotations

from twin.errors import InputError

_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_GBK_SHARE = 0.75
_ASCII = bytes(range(128))
_FIRST_CJK = "\u2e80"
_BY_LINE = "utf-8 and gb18030 by turns"


def decode(data: bytes, where: str) -> tuple[str, str]:
    r"""Return the text of `data` and the encoding it was taken for.

    GBK is believed when most of its characters are two bytes above 127, as in Chinese text; Latin-1 names have single
    ones. A file put together of both (lines in UTF-8, others in GBK) is read a line at a time. Raises InputError
    E_ENCODING for bytes that are no text.

    >>> decode("城脉".encode("gbk"), "x"), decode("caf\xe9 ".encode("latin-1"), "x")
    (('城脉', 'gb18030'), ('café ', 'latin-1'))
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _strictly(data, encoding, where), encoding
    if b"\x00" in data:
        raise InputError("is no text (it has zero bytes)", where=where, expected="UTF-8 text", code="E_ENCODING")
    if (text := _decoded(data, "utf-8")) is not None:
        return text, "utf-8"
    if (text := _by_line(data)) is not None:
        return text, _BY_LINE
    if (text := _chinese(data)) is not None:
        return text, "gb18030"
    return data.decode("latin-1"), "latin-1"


def _chinese(data: bytes) -> str | None:
    """Return the text of `data` as GBK, None where it is none or where its letters are not Chinese ones."""
    if (text := _decoded(data, "gb18030")) is None:
        return None
    high = len(data.translate(None, _ASCII))
    chinese = len(text) - len(text.encode("ascii", "ignore"))
    return text if high >= 2 * chinese * _GBK_SHARE else None


def _by_line(data: bytes) -> str | None:
    """Return the text of lines that are Chinese in UTF-8 here and in GBK there, None where they are not so.

    Chinese in GBK is hardly ever right UTF-8 as well, and never by the common characters.
    """
    lines: list[str] = []
    unicode = False
    for line in data.split(b"\n"):
        if (text := _decoded(line, "utf-8")) is not None:
            unicode = unicode or max(text, default="") >= _FIRST_CJK
        elif (text := _chinese(line)) is None:
            return None
        lines.append(text)
    return "\n".join(lines) if unicode else None


def _strictly(data: bytes, encoding: str, where: str) -> str:
    if (text := _decoded(data, encoding)) is None:
        raise InputError(f"is not the {encoding} it says", where=where, code="E_ENCODING")
    return text


def _decoded(data: bytes, encoding: str) -> str | None:
    """Return the text of `data`, None where it is not in this encoding."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None
