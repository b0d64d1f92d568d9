"""SWMM files: every real one comes in whole or is refused with a line; levels, services and units are understood."""

import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twin.asset import LinkKind, NodeKind
from twin.errors import InputError
from twin.model import Decision, ReadRequest
from twin.readers import reader_for
from twin.readers.swmm import HELD, SwmmReader

SMALL = """[OPTIONS]
FLOW_UNITS {units}
LINK_OFFSETS {offsets}
[RAINGAGES]
RG1 INTENSITY 0:05 1 TIMESERIES T
[SUBCATCHMENTS]
S1 RG1 J1 2 50 100 1.5 0
[JUNCTIONS]
J1 10 2 0 0 0
J2 9 0 0 0 0
[OUTFALLS]
O1 8 FREE NO
[STORAGE]
ST 7 5 0 FUNCTIONAL 1000 0 0
[DIVIDERS]
D1 9 C2 CUTOFF 1
[CONDUITS]
C1 j1 J2 100 0.013 0.5 * 0 0
C2 J2 D1 50 0.013 0 0.2 0 0
[PUMPS]
PU ST O1 CURVE OFF
[ORIFICES]
OR D1 ST SIDE 0.3 0.65 NO
[WEIRS]
W J2 ST TRANSVERSE 0.4 3.3 NO
[OUTLETS]
OL D1 O1 0.1 TABULAR/DEPTH X NO
[XSECTIONS]
C1 CIRCULAR 0.6 0 0 0 1
C2 RECT_CLOSED 1.2 2 0 0 2
OR CIRCULAR 0.3 0 0 0
[LOSSES]
C1 0.1 0.2 0 YES
[TAGS]
Node J1 sanitary
Node J2 sanitary
Link C2 storm main
[COORDINATES]
J1 0 0
J2 100 0
O1 200 0
ST 150 50
D1 150 0
[VERTICES]
C1 50 10
[Polygons]
S1 0 0
S1 0 10
S1 10 10
"""


def read(tmp_path: Path, text: str, **request):
    path = tmp_path / "town.inp"
    path.write_text(text, "utf-8")
    return SwmmReader().read(path, ReadRequest("town.inp", **request))


def small(units: str = "CMS", offsets: str = "DEPTH") -> str:
    return SMALL.format(units=units, offsets=offsets)


def rows(path: Path, *names: str) -> int:
    """Count the rows of sections with nothing but string splitting."""
    count, section = 0, ""
    for line in path.read_text("utf-8").splitlines():
        row = line.split(";")[0].strip()
        if row.startswith("["):
            section = row.strip("[]").upper()
        elif row and section in names:
            count += 1
    return count


def test_every_real_file_comes_in_whole_or_is_refused(data: Path) -> None:
    refused = {}
    for path in sorted((data / "networks/drainage").rglob("*.inp")):
        name, reader = reader_for(path)
        assert name == "swmm"
        try:
            model = reader.read(path, ReadRequest(path.name))
        except InputError as error:
            refused[path.name] = error.code
            continue
        assert len(model.nodes) == rows(path, "JUNCTIONS", "OUTFALLS", "STORAGE", "DIVIDERS")
        assert len(model.links) == rows(path, "CONDUITS", "PUMPS", "ORIFICES", "WEIRS", "OUTLETS")
        assert len(model.zones) == rows(path, "SUBCATCHMENTS")
    assert refused == {"invalid_model.inp": "E_NODE"}


def test_kinds_levels_and_sections_are_understood(tmp_path: Path) -> None:
    model = read(tmp_path, small())
    nodes, links = {n.name: n for n in model.nodes}, {link.name: link for link in model.links}
    kinds = {name: node.kind for name, node in nodes.items()}
    assert kinds["J1"] is NodeKind.MANHOLE
    assert (kinds["O1"], kinds["ST"], kinds["D1"]) == (NodeKind.OUTFALL, NodeKind.STORAGE, NodeKind.DIVIDER)
    assert (nodes["J1"].invert_m, nodes["J1"].ground_m) == (10, 12)
    assert nodes["J2"].ground_m is None  # a depth of zero says nothing
    assert (links["C1"].start_level_m, links["C1"].end_level_m) == (10.5, 9)
    assert (links["C2"].start_level_m, links["C2"].end_level_m) == (9, pytest.approx(9.2))
    assert (links["C1"].diameter_m, links["C2"].diameter_m) == (0.6, 1.2)
    assert links["C2"].width_m == 2
    assert (nodes["J1"].depth_m, nodes["J2"].depth_m) == (2, None)
    assert links["C2"].properties["barrels"] == 2
    assert links["C1"].properties["flap_gate"] is True
    assert links["C1"].start == nodes["J1"].id  # written in another case
    assert links["PU"].status == "closed"
    assert {links[name].kind for name in ("OR", "W", "OL")} == {LinkKind.ORIFICE, LinkKind.WEIR, LinkKind.OUTLET}


def test_offsets_may_be_levels(tmp_path: Path) -> None:
    text = small(offsets="ELEVATION").replace("0.013 0.5 *", "0.013 10.7 *")
    conduit = read(tmp_path, text).links[0]
    assert (conduit.start_level_m, conduit.end_level_m) == (10.7, 9)


def test_services_come_from_tags_of_the_link_or_of_both_ends(tmp_path: Path) -> None:
    links = {link.name: link.service for link in read(tmp_path, small()).links}
    assert (links["C1"], links["C2"], links["W"]) == ("sanitary", "storm", None)


@pytest.mark.parametrize(("units", "length", "area"), [("CFS", 30.48, 8093.71), ("LPS", 100, 20_000)])
def test_flow_unit_decides_lengths_and_areas(tmp_path: Path, units: str, length: float, area: float) -> None:
    model = read(tmp_path, small(units))
    assert model.links[0].length_m == pytest.approx(length)
    assert model.zones[0].properties["area_m2"] == pytest.approx(area, rel=1e-5)


def test_file_stands_where_the_caller_says(tmp_path: Path) -> None:
    model = read(tmp_path, small(), crs="EPSG:4549", city_crs="EPSG:32650")
    assert model.placement.decision is Decision.PLACED
    assert model.placement.crs == "EPSG:32650"
    assert model.nodes[0].point.x == pytest.approx(333_000, abs=2_000)  # 115.5° E on the equator, from 117° E
    assert model.zones[0].area.centroid.x == pytest.approx(333_000, abs=2_000)


def test_description_above_an_object_is_kept_and_a_table_head_is_none(tmp_path: Path) -> None:
    text = small().replace("[CONDUITS]\n", "[CONDUITS]\n;;Name From To\n;混凝土 1996\n")
    links = read(tmp_path, text).links
    assert [link.properties.get("description") for link in links[:2]] == ["混凝土 1996", None]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [("C2 J2 D1", "C2 J2 X9", "E_NODE"), ("C2 J2 D1 50", "C2 J2 D1 far", "E_SYNTAX"), ("CMS", "BARREL", "E_UNIT")],
)
def test_wrong_line_is_named(tmp_path: Path, old: str, new: str, code: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, small().replace(old, new, 1))
    assert error.value.code == code


def test_remainder_and_assets_of_real_files_leave_no_section_out(data: Path) -> None:
    for path in sorted((data / "networks/drainage").glob("*.inp")):
        model = SwmmReader().read(path, ReadRequest(path.name))
        kept = zlib.decompress(model.remainder).decode().splitlines()
        sections = [line.strip().upper() for line in path.read_text("utf-8").splitlines() if line.startswith("[")]
        held = {f"[{name}]" for name in HELD}
        assert [line.strip().upper() for line in kept if line.startswith("[")] == [s for s in sections if s not in held]


def test_custom_irregular_and_street_sections_have_height_and_width(tmp_path: Path) -> None:
    text = small().replace(
        "C1 CIRCULAR 0.6 0 0 0 1\nC2 RECT_CLOSED 1.2 2 0 0 2",
        "C1 CUSTOM 2 EGG1 0 0 1\nC2 IRREGULAR T1\nW STREET S1",
    )
    text += "[CURVES]\nEGG1 Shape 0 0\nEGG1 0.5 0.8 0.75 1.1\nEGG1 1 0\nOTHER Storage 0 9\n"
    text += "[TRANSECTS]\nNC 0.03 0.03 0.02\nX1 T1 4 0 0 0 0 0 2 0\nGR 3 0 1 2 0.5 4 3.5 10\n"
    text += "[STREETS]\nS1 6 0.2 2 0.016 0 0 2 1.5 4 0.02\n"
    links = {link.name: link for link in read(tmp_path, text).links}
    assert (links["C1"].diameter_m, links["C1"].width_m) == (2, 2.2)  # 1.1 of the height
    assert (links["C2"].diameter_m, links["C2"].width_m) == (3, 20)  # 3.5 - 0.5 high, 10 wide, twice
    assert (links["W"].diameter_m, links["W"].width_m) == (0.2, 15)  # (6 + 1.5) on both sides
    assert links["C1"].properties["section"] == "EGG1"


def test_what_flows_in_and_the_rest_of_a_row_are_kept(tmp_path: Path) -> None:
    text = small().replace("J1 10 2 0 0 0", "J1 10 2 0.5 1 20").replace("O1 8 FREE NO", "O1 8 FIXED 8.5 YES")
    text += "[INFLOWS]\nJ1 FLOW TS1 FLOW 1.0 2.0 0.003\n[DWF]\nJ2 FLOW 0.001 DAY\n"
    model = read(tmp_path, text)
    nodes, links = {node.name: node for node in model.nodes}, {link.name: link for link in model.links}
    j1 = nodes["J1"].properties
    assert (j1["initial_depth_m"], j1["surcharge_depth_m"], j1["ponded_area_m2"]) == (0.5, 1, 20)
    assert (j1["inflow_series"], j1["inflow_m3s"]) == ("TS1", 0.006)
    assert nodes["J2"].properties["dry_weather_flow_m3s"] == 0.001
    assert (nodes["O1"].properties["outfall_type"], nodes["O1"].properties["parameters"]) == ("FIXED", "8.5 YES")
    assert nodes["ST"].properties["parameters"] == "1000 0 0"
    assert links["OR"].properties["parameters"] == "0.65 NO"
    assert links["C2"].properties["section_geometry"] == "1.2 2 0 0 2"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.floats(0, 1),
    st.integers(0, 60),
    st.binary(max_size=10) | st.sampled_from([b"[", b'"', b" nan ", b" * ", b"\n", b" -1e308 ", b"1e308 ", b";"]),
)
def test_any_damage_gives_a_model_or_an_input_error(tmp_path: Path, where: float, cut: int, put: bytes) -> None:
    whole = (
        small()
        + "[TRANSECTS]\nX1 T1 4 0 0 0 0 0 2 0\nGR 3 0 1 2\n[CURVES]\nE Shape 0 0 1 1\n"
        + "[STREETS]\nS1 6 0.2\n[DWF]\nJ2 FLOW 1\n"
    ).encode()
    at = int(where * len(whole))
    (tmp_path / "any.inp").write_bytes(whole[:at] + put + whole[at + cut :])
    try:
        SwmmReader().read(tmp_path / "any.inp", ReadRequest("any.inp"))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
