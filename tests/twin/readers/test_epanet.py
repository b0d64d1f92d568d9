"""EPANET files: every real one comes in whole or is refused with a line; units become SI."""

import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely import Point

from twin.asset import LinkKind, NodeKind, System
from twin.errors import InputError
from twin.model import Decision, ReadRequest
from twin.readers import reader_for
from twin.readers.epanet import FLOW_UNITS, HELD, EpanetReader

SMALL = """[TITLE]
 a town; with a comment
[JUNCTIONS]
 J1 100 10 day ; Chinese 井
 J2 90
[RESERVOIRS]
 R1 150
[TANKS]
 T1 120 10 0 20 50 0
[PIPES]
 P1 R1 J1 1000 12 100 0.5 Open
 P2 J1 J2 500 6 100 0 CV
 P3 J2 T1 500 6 100 0 Open
[PUMPS]
 PU1 R1 J2 HEAD C1 SPEED 1.1
[VALVES]
 V1 J1 J2 8 PRV 50 0
[TAGS]
 NODE J2 Hydrant
 LINK P2 service
[DEMANDS]
 J1 4 day
 J1 2 night
[STATUS]
 P3 Closed
[OPTIONS]
 Units {units}
 Demand Multiplier 2
[COORDINATES]
 J1 0 0
 J2 100 0
 R1 0 100
 T1 100 100
[VERTICES]
 P3 150 50
[END]
"""


def read(tmp_path: Path, text: str | bytes, **request):
    path = tmp_path / "town.inp"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return EpanetReader().read(path, ReadRequest("town.inp", **request))


def independent_counts(path: Path) -> tuple[int, int]:
    """Count rows by section with nothing but string splitting."""
    counts: dict[str, int] = {}
    section = ""
    for line in path.read_text("utf-8").splitlines():
        row = line.split(";")[0].strip()
        if row.startswith("["):
            section = row.upper()
        elif row:
            counts[section] = counts.get(section, 0) + 1
    count = lambda *names: sum(counts.get(f"[{name}]", 0) for name in names)  # noqa: E731
    return count("JUNCTIONS", "RESERVOIRS", "TANKS"), count("PIPES", "PUMPS", "VALVES")


def test_every_real_file_comes_in_whole_or_is_refused(data: Path) -> None:
    refused = {}
    for path in sorted((data / "networks/water").rglob("*.inp")):
        name, reader = reader_for(path)
        assert name == "epanet"
        try:
            model = reader.read(path, ReadRequest(path.name))
        except InputError as error:
            refused[path.name] = error.code
        else:
            assert (len(model.nodes), len(model.links)) == independent_counts(path)
            assert model.placement.decision is Decision.UNPLACED
    assert refused == {"bad_values.inp": "E_NODE"}


def test_values_agree_with_wntrs(data: Path) -> None:
    import wntr

    path = data / "networks/water/Net3.inp"
    net = wntr.network.WaterNetworkModel(str(path))
    model = EpanetReader().read(path, ReadRequest("n"))
    for link in model.links:
        theirs = net.get_link(link.name)
        assert (link.start, link.end) == (f"n:node:{theirs.start_node_name}", f"n:node:{theirs.end_node_name}")
        if link.kind is LinkKind.PIPE:
            assert link.length_m == pytest.approx(theirs.length)
            assert link.diameter_m == pytest.approx(theirs.diameter)
    for node in model.nodes:
        theirs = net.get_node(node.name)
        assert (node.point.x, node.point.y) == theirs.coordinates
        if node.kind is NodeKind.JUNCTION:
            assert node.invert_m == pytest.approx(theirs.elevation)
            assert node.properties["base_demand_m3s"] == pytest.approx(theirs.base_demand, rel=1e-4)


@pytest.mark.parametrize("units", sorted(FLOW_UNITS))
def test_every_flow_unit_decides_lengths_and_diameters(tmp_path: Path, units: str) -> None:
    model = read(tmp_path, SMALL.format(units=units))
    us = units in {"CFS", "GPM", "MGD", "IMGD", "AFD"}
    pipe = model.links[0]
    assert pipe.length_m == pytest.approx(304.8 if us else 1000)
    assert pipe.diameter_m == pytest.approx(0.3048 if us else 0.012)
    assert model.nodes[0].properties["base_demand_m3s"] == pytest.approx(12 * FLOW_UNITS[units])


def test_flow_units_are_what_they_say() -> None:
    assert FLOW_UNITS["GPM"] == pytest.approx(6.30902e-5, rel=1e-5)
    assert FLOW_UNITS["CFS"] == pytest.approx(0.0283168, rel=1e-5)
    assert FLOW_UNITS["AFD"] == pytest.approx(0.0142764, rel=1e-5)
    assert FLOW_UNITS["MLD"] == pytest.approx(0.0115741, rel=1e-5)


def test_tags_status_and_kinds_are_understood(tmp_path: Path) -> None:
    model = read(tmp_path, SMALL.format(units="LPS"))
    nodes, links = {n.name: n for n in model.nodes}, {link.name: link for link in model.links}
    assert nodes["J2"].kind is NodeKind.HYDRANT
    assert nodes["T1"].kind is NodeKind.TANK
    assert nodes["T1"].properties["maximum_level_m"] == 20
    assert nodes["R1"].properties["head_m"] == 150
    assert links["P2"].kind is LinkKind.SERVICE
    assert links["P2"].properties["check_valve"] is True
    assert links["P3"].status == "closed"
    assert links["PU1"].kind is LinkKind.PUMP
    assert links["PU1"].properties == {"head": "C1", "speed": "1.1"}
    assert links["V1"].properties["setting_m"] == 50
    assert all(asset.system is System.WATER for asset in (*model.nodes, *model.links))


def test_pipes_follow_their_vertices_and_levels(tmp_path: Path) -> None:
    pipe = next(link for link in read(tmp_path, SMALL.format(units="LPS")).links if link.name == "P3")
    assert list(pipe.line.coords) == [(100, 0, 90), (150, 50, pytest.approx(105)), (100, 100, 120)]


def test_file_stands_where_the_caller_says(tmp_path: Path) -> None:
    model = read(tmp_path, SMALL.format(units="LPS"), crs="EPSG:4549", city_crs="EPSG:4549")
    assert model.placement.decision is Decision.PLACED
    assert model.nodes[1].point == Point(100, 0, 90)


def test_node_without_coordinates_is_kept_and_told(tmp_path: Path) -> None:
    model = read(tmp_path, SMALL.format(units="LPS").replace(" R1 0 100\n", ""))
    assert len(model.nodes) == 4
    assert {issue.code for issue in model.issues} == {"E_COORDINATES"}


@pytest.mark.parametrize(
    ("encoding", "told"), [("utf-8", False), ("utf-8-sig", False), ("gbk", True), ("utf-16", True)]
)
def test_encodings_are_found_and_told(tmp_path: Path, encoding: str, told: bool) -> None:
    text = SMALL.format(units="LPS").replace("J2", "检查井二号")
    model = read(tmp_path, text.encode(encoding))
    assert "检查井二号" in {node.name for node in model.nodes}
    assert ("E_ENCODING" in {issue.code for issue in model.issues}) == told


@pytest.mark.parametrize(
    ("old", "new", "code", "told"),
    [
        ("J1 100 10", "J1 high 10", "E_SYNTAX", "elevation is 'high'"),
        ("1000 12 100", "1000", "E_SYNTAX", "line 11"),
        ("1000 12", "nan 12", "E_SYNTAX", "length is 'nan'"),
        ("P1 R1 J1", "P1 R1 J9", "E_NODE", "'J9'"),
        (" P2 J1", " P1 J1", "E_ID", "there already"),
        ("Units LPS", "Units FURLONG", "E_UNIT", "FURLONG"),
        ("[TITLE]", "junk\n[TITLE]", "E_SYNTAX", "before the first section"),
    ],
)
def test_wrong_line_is_named(tmp_path: Path, old: str, new: str, code: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, SMALL.format(units="LPS").replace(old, new, 1))
    assert error.value.code == code
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_file_cut_off_anywhere_is_read_or_refused_and_never_breaks(tmp_path: Path) -> None:
    whole = SMALL.format(units="LPS").encode()
    for end in range(0, len(whole), 7):
        try:
            read(tmp_path, whole[:end])
        except InputError as error:
            assert error.code in {"E_SYNTAX", "E_NODE", "E_EMPTY", "E_UNIT"}  # noqa: PT017


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E_ENCODING"):
        read(tmp_path, b"[JUNCTIONS]\n\x00\x01\x02")


def test_unknown_section_is_left_out_and_told(tmp_path: Path) -> None:
    model = read(tmp_path, SMALL.format(units="LPS") + "[FOO]\n what is this\n")
    assert [issue.code for issue in model.issues] == ["E_SECTION"]


def test_comment_at_the_end_of_a_line_describes_its_object(tmp_path: Path) -> None:
    model = read(tmp_path, SMALL.format(units="LPS"))
    assert model.nodes[0].properties["description"] == "Chinese 井"
    assert "description" not in model.nodes[1].properties


def test_windows_ellipsis_does_not_end_a_line(tmp_path: Path) -> None:
    text = SMALL.format(units="LPS").replace("J1 100 10 day ; Chinese 井", "J1 100 10 day ; caf\xe9 \x85 more")
    assert [node.name for node in read(tmp_path, text.encode("latin-1")).nodes] == ["J1", "J2", "R1", "T1"]


@pytest.mark.parametrize(
    ("units", "pressure", "setting"),
    [("GPM", "METERS", 50 * 0.3048 / 0.4333), ("LPS", "PSI", 50), ("LPS", "KPA", 50 / 9.80665), ("LPS", "METERS", 50)],
)
def test_pressure_is_psi_in_us_files_only_as_the_engine_has_it(
    tmp_path: Path, units: str, pressure: str, setting: float
) -> None:
    text = SMALL.format(units=units).replace("[COORDINATES]", f" Pressure {pressure}\n[COORDINATES]")
    [valve] = [link for link in read(tmp_path, text).links if link.kind is LinkKind.VALVE]
    assert valve.properties["setting_m"] == pytest.approx(setting)


def test_every_section_that_no_asset_holds_is_kept_as_it_is_written(tmp_path: Path) -> None:
    text = SMALL.format(units="LPS") + "[Patterns]\n;week\n day 1 2 3\n[FOO]\n what\n"
    rest = zlib.decompress(read(tmp_path, text).remainder).decode()
    parts = ("[TITLE]\n a town; with a comment\n", "[DEMANDS]\n J1 4 day\n J1 2 night\n", "[OPTIONS]\n Units LPS\n")
    for part in (*parts, "[Patterns]\n;week\n day 1 2 3\n", "[FOO]\n what"):
        assert part in rest
    assert not any(f"[{name}]" in rest for name in ("JUNCTIONS", "PIPES", "STATUS", "COORDINATES", "TAGS", "END"))


def test_remainder_and_assets_of_real_files_leave_no_section_out(data: Path) -> None:
    for path in sorted((data / "networks/water").glob("*.inp")):
        model = EpanetReader().read(path, ReadRequest(path.name))
        kept = zlib.decompress(model.remainder).decode().splitlines()
        sections = [line.strip().upper() for line in path.read_text("utf-8").splitlines() if line.startswith("[")]
        held = {f"[{name}]" for name in HELD}
        assert [line.strip().upper() for line in kept if line.startswith("[")] == [s for s in sections if s not in held]


@pytest.mark.parametrize(
    ("description", "material", "year"),
    [
        ("DI 1998", "DI", 1998),
        ("钢 2003", "钢", 2003),
        ("灰口铸铁 1997 河湾路", "灰口铸铁", 1997),
        ("2003年", None, 2003),
        ("laid 1987", None, 1987),
        ("PE100", "PE100", None),
        ("DI or CI 1998", None, 1998),
        ("DI 1998, relined 2010", "DI", None),
        ("Highway 1998", None, None),
        ("河湾路", None, None),
        ("house 2003 DI", "DI", 2003),
        ("", None, None),
    ],
)
def test_description_gives_material_and_year_only_where_it_is_plain(
    tmp_path: Path, description: str, material: str | None, year: int | None
) -> None:
    text = SMALL.format(units="LPS").replace("0.5 Open", f"0.5 Open ;{description}")
    pipe = read(tmp_path, text).links[0]
    assert (pipe.material, pipe.year) == (material, year)


def test_rest_of_a_row_is_kept(tmp_path: Path) -> None:
    text = (
        SMALL.format(units="LPS")
        .replace("PRV 50 0", "PRV 50 0.7")
        .replace("PU1 R1 J2 HEAD C1 SPEED 1.1", "PU1 R1 J2 7.5")
    )
    links = {link.name: link for link in read(tmp_path, text.replace("50 0\n[PIPES]", "50 0 * YES\n[PIPES]")).links}
    assert links["V1"].properties["minor_loss"] == 0.7
    assert links["PU1"].properties["parameters"] == "7.5"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.floats(0, 1),
    st.integers(0, 60),
    st.binary(max_size=10) | st.sampled_from([b"[", b'"', b" nan ", b" * ", b"\n", b" -1e308 ", b"1e308 ", b";"]),
)
def test_any_damage_gives_a_model_or_an_input_error(tmp_path: Path, where: float, cut: int, put: bytes) -> None:
    whole = (SMALL.format(units="LPS")).encode()
    at = int(where * len(whole))
    (tmp_path / "any.inp").write_bytes(whole[:at] + put + whole[at + cut :])
    try:
        EpanetReader().read(tmp_path / "any.inp", ReadRequest("any.inp"))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
