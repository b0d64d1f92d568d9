"""Text of files whose encoding nobody wrote down: UTF-8, else GBK, else Latin-1, and which it was."""

from __future__ import annotations

from twin.errors import InputError

_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_GBK_SHARE = 0.75


def decode(data: bytes, where: str) -> tuple[str, str]:
    r"""Return the text of `data` and the encoding it was taken for.

    GBK is believed when most of its characters are two bytes above 127, as in Chinese text; Latin-1 names have single
    ones. Raises InputError E_ENCODING for bytes that are no text.

    >>> decode("城脉".encode("gbk"), "x"), decode("caf\xe9 ".encode("latin-1"), "x")
    (('城脉', 'gb18030'), ('café ', 'latin-1'))
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _strictly(data, encoding, where), encoding
    if b"\x00" in data:
        raise InputError("is no text (it has zero bytes)", where=where, expected="UTF-8 text", code="E_ENCODING")
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass  # the next encodings are tried below
    high = sum(byte > 127 for byte in data)
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"
    chinese = sum(ord(character) > 127 for character in text)
    if high >= 2 * chinese * _GBK_SHARE:
        return text, "gb18030"
    return data.decode("latin-1"), "latin-1"


def _strictly(data: bytes, encoding: str, where: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise InputError(f"is not the {encoding} it says", where=where, code="E_ENCODING") from None
