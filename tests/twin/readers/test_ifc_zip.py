"""IFC models in archives: one model, within limits, and a reason for everything else."""

import zipfile

import pytest

from tests.twin.readers.test_ifc import Small, read
from twin.errors import InputError


def archive(folder, members, name="模型.ifczip"):
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member, content in members.items():
            file.writestr(member, content)
    return path


def test_a_zipped_model_is_the_model(tmp_path):
    plain = Small().save(tmp_path)
    zipped = archive(tmp_path, {"河湾/": b"", "河湾/模型.ifc": plain.read_bytes(), "readme.txt": b"x"})
    one, other = read(plain), read(zipped)
    assert [element.guid for element in other.elements] == [element.guid for element in one.elements]
    assert other.account == one.account


def test_an_archive_under_the_name_of_a_model_is_opened(tmp_path):
    zipped = archive(tmp_path, {"m.ifc": Small().save(tmp_path).read_bytes()}, name="zipped.ifc")
    assert len(read(zipped).elements) == 3


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"a.ifc": b"x", "b.ifc": b"x"}, "2 models"),
        ({"a.ifcXML": b"x"}, "ifcXML"),
        ({"a.txt": b"x"}, "0 models"),
        ({"a.ifc": b"hello"}, "no IFC header"),
    ],
)
def test_an_archive_without_one_model_is_refused_with_its_reason(tmp_path, members, why):
    with pytest.raises(InputError, match=why) as refused:
        read(archive(tmp_path, members))
    assert refused.value.code == "E_FORMAT"


def test_an_archive_made_to_fill_the_memory_is_refused_unread(tmp_path):
    with pytest.raises(InputError, match="E_TOO_LARGE"):
        read(archive(tmp_path, {"a.ifc": bytes(50_000_000)}))


def test_a_broken_archive_is_refused(tmp_path):
    whole = archive(tmp_path, {"m.ifc": Small().save(tmp_path).read_bytes()})
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(InputError, match="E_FORMAT"):
        read(whole)


def test_ifcxml_is_refused_by_name(tmp_path):
    path = tmp_path / "m.ifcxml"
    path.write_text('<?xml version="1.0"?><ifc:ifcXML xmlns:ifc="http://www.buildingsmart-tech.org/ifcXML"/>')
    with pytest.raises(InputError, match="ifcXML is not read"):
        read(path)
