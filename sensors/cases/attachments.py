"""Photos and papers of cases: files beside the database, named by their content and never changed.

A file is known by the SHA-256 of its bytes: the same photo twice is one file, and a file that was changed afterwards
shows. What it is, its bytes say, never its name: JPEG (ITU-T T.81), PNG (RFC 2083 §3.1), WebP (RFC 9649 §2.4), PDF
(ISO 32000-1 §7.5.2, with its ``%%EOF`` near the end §7.5.5).
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sensors.response import AttachmentRules
from twin.errors import InputError, UnavailableError, UnknownError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 120
_TAIL = 1024
"""Bytes at the end of a PDF in which readers look for ``%%EOF`` (ISO 32000-1, annex H, implementation notes)."""


class Media(StrEnum):
    """What may be attached, by its media type."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    WEBP = "image/webp"
    PDF = "application/pdf"


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is kept: SHA-256 in hexadecimal, what it is, and its size in bytes."""

    digest: str
    media: Media
    size: int


class Attachments:
    """The files in `folder`, which is made when the first is kept."""

    def __init__(self, folder: Path, rules: AttachmentRules) -> None:
        self._folder = folder
        self.rules = rules

    def keep(self, content: bytes, name: str) -> File:
        """Keep the file `name` and return what it is; it is on the disk, or not there at all.

        InputError E_FORMAT for what is neither photo nor PDF, E_SIZE for one that is empty or too large;
        UnavailableError for a folder that cannot be written.
        """
        most = int(self.rules.most_mb * 1e6)
        if not 0 < len(content) <= most:
            raise InputError(
                f"{len(content)} bytes", where=label(name), expected=f"1 to {most} bytes a file", code="E_SIZE"
            )
        media = media_of(content)
        if media is None:
            raise InputError(
                "is no photo and no PDF, whatever its name says",
                where=label(name),
                expected=", ".join(media.value for media in Media),
                code="E_FORMAT",
            )
        digest = hashlib.sha256(content).hexdigest()
        target = self.path(digest)
        try:
            if not _sound(target, digest):
                _write(target, content)
        except OSError as error:
            raise UnavailableError(error.strerror or "cannot be written", where=str(target.parent)) from error
        return File(digest, media, len(content))

    def read(self, digest: str) -> bytes:
        """Return the bytes of a file; UnknownError where there is none, InputError E_CHANGED where it was changed."""
        path = self.path(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise UnknownError("no such file", where=str(path), expected="an attachment of a case") from None
        except OSError as error:
            raise UnavailableError(error.strerror or "cannot be read", where=str(path)) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise InputError("is not what was attached", where=str(path), expected=digest, code="E_CHANGED")
        return content

    def path(self, digest: str) -> Path:
        """Return where the file of `digest` is; UnknownError for what is no digest."""
        if not _DIGEST.fullmatch(digest):
            raise UnknownError("no digest", where=digest[:80], expected="64 hexadecimal digits")
        return self._folder / digest[:2] / digest

    def faults(self, digests: Iterable[str]) -> list[str]:
        """Return, a line each, which of the files `digests` are missing or were changed."""
        told: list[str] = []
        for digest in sorted(set(digests)):
            try:
                self.read(digest)
            except (UnknownError, InputError) as error:
                told.append(str(error))
        return told


def media_of(content: bytes) -> Media | None:
    """Return what the bytes are, by how they begin and end; None for anything else.

    >>> media_of(b"%PDF-1.7 ... %%EOF"), media_of(b"GIF89a")
    (<Media.PDF: 'application/pdf'>, None)
    """
    if content.startswith(b"\xff\xd8\xff"):
        return Media.JPEG
    if content.startswith(b"\x89PNG\r\n\x1a\n") and content[12:16] == b"IHDR":
        return Media.PNG
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return Media.WEBP
    if content.startswith(b"%PDF-") and b"%%EOF" in content[-_TAIL:]:
        return Media.PDF
    return None


def label(name: str) -> str:
    r"""Return a file's name as it is shown: without folders and control characters, at most 120 characters.

    >>> label("C:\\photos\\井盖\n.jpg"), label("../../etc/passwd"), label("")
    ('井盖.jpg', 'passwd', 'file')
    """
    last = re.split(r"[/\\]", name)[-1]
    clean = "".join(each for each in last if unicodedata.category(each)[0] != "C").strip()
    return clean[-_LONGEST_NAME:] or "file"


def _sound(path: Path, digest: str) -> bool:
    """Whether the file is there and is what it should be: one that was changed is written anew."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == digest
    except FileNotFoundError:
        return False


def _write(target: Path, content: bytes) -> None:
    """Write the file under another name, down to the disk, and give it its own: never half of one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


__all__ = ["Attachments", "File", "Media", "label", "media_of"]
