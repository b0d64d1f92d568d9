import hashlib

import pytest

from sensors.cases.attachments import Attachments, Media, label, media_of
from sensors.response import AttachmentRules
from twin.errors import InputError, UnavailableError, UnknownError

JPEG = b"\xff\xd8\xff\xe0" + b"photo" * 20
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"drawing" * 9
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 " + b"photo"
PDF = b"%PDF-1.7\n1 0 obj\nendobj\ntrailer\n%%EOF\n"


@pytest.fixture
def attachments(tmp_path):
    return Attachments(tmp_path / "attachments", AttachmentRules(0.001, 3, "a test", verified=True))


@pytest.mark.parametrize(
    ("content", "media"), [(JPEG, Media.JPEG), (PNG, Media.PNG), (WEBP, Media.WEBP), (PDF, Media.PDF)]
)
def test_a_file_comes_back_as_it_was_and_is_known_by_its_content(attachments, content, media):
    file = attachments.keep(content, "任意.exe")
    assert (file.digest, file.media, file.size) == (hashlib.sha256(content).hexdigest(), media, len(content))
    assert attachments.read(file.digest) == content


@pytest.mark.parametrize(
    "content",
    [
        b"MZ\x90\x00",
        b"<html><script>",
        b"GIF89a",
        b"%PDF-1.7 cut off",
        b"\x89PNG\r\n\x1a\nno header",
        b"PK\x03\x04",
        b"<svg>",
    ],
)
def test_what_is_no_photo_and_no_pdf_is_refused_whatever_its_name(attachments, content, tmp_path):
    assert media_of(content) is None
    with pytest.raises(InputError, match="whatever its name") as error:
        attachments.keep(content, "photo.jpg")
    assert error.value.code == "E_FORMAT"
    assert not (tmp_path / "attachments").exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff" + bytes(998)])
def test_an_empty_file_and_one_that_is_too_large_are_refused(attachments, content):
    with pytest.raises(InputError, match="1 to 1000 bytes") as error:
        attachments.keep(content, "photo.jpg")
    assert error.value.code == "E_SIZE"


def test_a_file_of_the_largest_size_is_kept(attachments):
    assert attachments.keep(b"\xff\xd8\xff" + bytes(997), "photo.jpg").size == 1000


def test_the_same_photo_twice_is_one_file(attachments, tmp_path):
    assert attachments.keep(JPEG, "a.jpg") == attachments.keep(JPEG, "b.jpg")
    assert len([path for path in (tmp_path / "attachments").rglob("*") if path.is_file()]) == 1


def test_a_file_that_was_changed_shows_and_is_not_handed_out(attachments):
    file = attachments.keep(JPEG, "a.jpg")
    attachments.path(file.digest).write_bytes(PNG)
    assert "E_CHANGED" in attachments.faults([file.digest])[0]
    with pytest.raises(InputError) as error:
        attachments.read(file.digest)
    assert error.value.code == "E_CHANGED"
    attachments.keep(JPEG, "a.jpg")
    assert attachments.faults([file.digest]) == []


def test_a_file_that_is_gone_shows(attachments):
    file = attachments.keep(JPEG, "a.jpg")
    attachments.path(file.digest).unlink()
    assert "no such file" in attachments.faults([file.digest])[0]


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "A" * 64, "a" * 63])
def test_what_is_no_digest_leads_to_no_file(attachments, digest):
    with pytest.raises(UnknownError):
        attachments.path(digest)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "attachments").write_text("a file")
    attachments = Attachments(tmp_path / "attachments", AttachmentRules(1, 3, "a test", verified=True))
    with pytest.raises(UnavailableError, match="attachments"):
        attachments.keep(JPEG, "a.jpg")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a/b\\c.jpg", "c.jpg"),
        ("照片\u202egpj.exe", "照片gpj.exe"),
        ("..", ".."),
        ("x" * 200 + ".pdf", "x" * 116 + ".pdf"),
    ],
)
def test_a_name_is_shown_without_what_could_mislead(name, shown):
    assert label(name) == shown
