"""GasLib networks: counts and units as the files have them; broken and hostile XML and zips are one line."""

import csv
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twin.asset import LinkKind, NodeKind, System
from twin.errors import InputError
from twin.model import Decision, ReadRequest
from twin.readers import reader_for
from twin.readers.gaslib import GasLibReader

SMALL = """<?xml version="1.0" encoding="UTF-8"?>
<network xmlns="http://gaslib.zib.de/Gas" xmlns:framework="http://gaslib.zib.de/Framework">
 <framework:nodes>
  <source id="S" x="0" y="0" geoWGS84Long="10.0" geoWGS84Lat="50.0"><height value="0.1" unit="km"/>
   <pressureMax unit="bar" value="81"/><flowMax unit="1000m_cube_per_hour" value="36"/>
   <gasTemperature unit="Celsius" value="10"/></source>
  <innode id="I" x="3000" y="4000" geoWGS84Long="10.1" geoWGS84Lat="50.0"><height value="90" unit="meter"/></innode>
  <sink id="T" x="3000" y="9000" alias="Town" geoWGS84Long="10.1" geoWGS84Lat="50.1"/>
 </framework:nodes>
 <framework:connections>
  <pipe id="P" from="S" to="I"><length unit="km" value="5"/><diameter unit="mm" value="600"/>
   <roughness unit="mm" value="0.05"/></pipe>
  <valve id="V" from="I" to="T"/>
  <controlValve id="C" from="I" to="T"/>
  <compressorStation id="K" from="I" to="T"><diameterIn unit="mm" value="800"/></compressorStation>
 </framework:connections>
</network>
"""


def read(tmp_path: Path, text: str | bytes, name: str = "town.net", **request):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return GasLibReader().read(path, ReadRequest(name, **request))


def test_real_networks_have_the_nodes_and_links_of_the_index(data: Path) -> None:
    with (data / "networks/INDEX.tsv").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["kind"] == "gas/GasLib-XML"]
    assert len(rows) == 2
    for row in rows:
        path = data / "networks" / row["file"]
        name, reader = reader_for(path)
        assert name == "gaslib"
        model = reader.read(path, ReadRequest(path.name))
        assert (len(model.nodes), len(model.links)) == (int(row["nodes"]), int(row["links"]))
        assert model.placement.decision is Decision.PLACED
        assert not model.issues


def test_lengths_of_real_pipes_are_about_what_lies_between_their_ends(data: Path) -> None:
    model = GasLibReader().read(data / "networks/gas/GasLib-135.zip", ReadRequest("g"))
    ratios = sorted(link.length_m / link.line.length for link in model.links if link.kind is LinkKind.PIPE)
    assert ratios[len(ratios) // 2] == pytest.approx(1, abs=0.1)


def test_units_become_si_and_kinds_the_citys(tmp_path: Path) -> None:
    model = read(tmp_path, SMALL)
    source, inner, sink = model.nodes
    assert [node.kind for node in model.nodes] == [NodeKind.SOURCE, NodeKind.JUNCTION, NodeKind.CUSTOMER]
    assert (source.invert_m, inner.invert_m, sink.invert_m, sink.name) == (100, 90, None, "Town")
    assert source.properties["pressureMax_pa"] == 8_100_000
    assert source.properties["flowMax_m3s"] == pytest.approx(10)
    assert source.properties["gasTemperature_K"] == pytest.approx(283.15)
    pipe, valve, control, station = model.links
    assert (pipe.length_m, pipe.diameter_m, pipe.properties["roughness_m"]) == (5000, 0.6, 0.05 / 1000)
    assert (pipe.start, pipe.end) == ("town.net:node:S", "town.net:node:I")
    kinds = [link.kind for link in (valve, control, station)]
    assert kinds == [LinkKind.VALVE, LinkKind.REGULATOR, LinkKind.COMPRESSOR]
    assert station.diameter_m == 0.8
    assert {asset.system for asset in (*model.nodes, *model.links)} == {System.GAS}


def test_file_without_degrees_stands_where_the_caller_says(tmp_path: Path) -> None:
    text = SMALL.replace("geoWGS84", "was")
    assert read(tmp_path, text).placement.decision is Decision.UNPLACED
    assert read(tmp_path, text).links[0].line.length == pytest.approx(5000)
    assert read(tmp_path, text, crs="EPSG:25832").placement.decision is Decision.PLACED


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('to="I"', 'to="X"', "E_NODE"),
        ('id="T"', 'id="I"', "E_ID"),
        ('value="600"', 'value="wide"', "E_SYNTAX"),
        ('value="600"', 'value="inf"', "E_SYNTAX"),
        ('unit="mm" value="600"', 'unit="furlong" value="600"', "E_UNIT"),
        ('geoWGS84Long="10.0"', 'geoWGS84Long="east"', "E_SYNTAX"),
        ("</network>", "", "E_TRUNCATED"),
        ("<framework:nodes>", "<framework:nodes>&what;", "E_TRUNCATED"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, old: str, new: str, code: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, SMALL.replace(old, new, 1))
    assert error.value.code == code
    assert "\n" not in str(error.value)


def test_billion_laughs_is_refused_at_once(tmp_path: Path) -> None:
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    text = SMALL.replace("<network", f"<!DOCTYPE network [{entities}]>\n<network", 1).replace("<sink", "&a9;<sink")
    with pytest.raises(InputError, match="entities"):
        read(tmp_path, text)


def test_zip_is_read_and_a_broken_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "town.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("town/town.scn", "<x/>")
        archive.writestr("town/town.net", SMALL)
    assert reader_for(path)[0] == "gaslib"
    whole = path.read_bytes()
    assert len(read(tmp_path, whole, "town.zip").links) == 4
    for end in range(0, len(whole) - 1, 11):
        with pytest.raises(InputError):
            read(tmp_path, whole[:end], "cut.zip")


def test_zip_of_something_else_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"x")
    with pytest.raises(InputError, match="no reader knows"):
        reader_for(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, len(SMALL)),
    st.integers(0, 40),
    st.binary(max_size=12) | st.sampled_from([b'"', b"<sink ", b"&amp;"]),
)
def test_any_damage_gives_a_model_or_an_input_error(tmp_path: Path, at: int, cut: int, put: bytes) -> None:
    whole = SMALL.encode()
    try:
        read(tmp_path, whole[:at] + put + whole[at + cut :])
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
