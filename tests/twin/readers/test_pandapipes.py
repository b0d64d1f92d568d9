"""pandapipes nets: counts, units and kinds as the file has them, without pandapipes; broken ones are one line."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twin.asset import LinkKind, NodeKind, System
from twin.errors import InputError
from twin.model import Decision, ReadRequest
from twin.readers import reader_for
from twin.readers.pandapipes import PandapipesReader


def table(columns, rows, index=None):
    split = {"columns": columns, "index": index or list(range(len(rows))), "data": rows}
    return {"_module": "pandas.core.frame", "_class": "DataFrame", "_object": json.dumps(split), "orient": "split"}


def net(**tables):
    fluid = {"_class": "Fluid", "_object": json.dumps({"name": "lgas", "is_gas": True})}
    return {"_module": "pandapipes.pandapipes_net", "_class": "pandapipesNet", "_object": {"fluid": fluid, **tables}}


def small(**more):
    return net(
        junction=table(
            ["name", "height_m", "in_service"], [["a", 5.0, True], ["b", 4.0, True], ["b", 3.0, False]], [3, 5, 7]
        ),
        junction_geodata=table(["x", "y"], [[0, 0], [100, 0], [100, 50]], [3, 5, 7]),
        pipe=table(
            ["name", "from_junction", "to_junction", "length_km", "diameter_m", "std_type", "in_service"],
            [["P", 3, 5, 0.12, 0.1, "80_ST<16", True], ["P", 5, 7, 0.05, None, "PE 100", False]],
            [2, 9],
        ),
        **more,
    )


def read(tmp_path: Path, content, **request):
    path = tmp_path / "net.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return PandapipesReader().read(path, ReadRequest("net.json", **request))


def test_real_net_has_the_nodes_and_links_of_the_index(data: Path) -> None:
    with (data / "networks/INDEX.tsv").open() as file:
        row = next(r for r in csv.DictReader(file, delimiter="\t") if "pandapipes" in r["file"])
    path = data / "networks" / row["file"]
    name, reader = reader_for(path)
    assert name == "pandapipes"
    model = reader.read(path, ReadRequest(path.name))
    assert (len(model.nodes), len(model.links)) == (int(row["nodes"]), int(row["links"]))
    assert f"sinks={Counter(node.kind for node in model.nodes)[NodeKind.CUSTOMER]} ext_grid=1" in row["note"]
    assert [node.name for node in model.nodes if node.kind is NodeKind.SOURCE] != []
    assert {link.system for link in model.links} == {System.GAS}
    assert model.placement.decision is Decision.UNPLACED
    assert not model.issues


def test_real_net_stands_in_schutterwald_where_its_crs_is_given(data: Path) -> None:
    path = data / "networks/gas/pandapipes_schutterwald_1bar.json"
    request = ReadRequest("s", crs="EPSG:31467")  # its coordinates are German Gauss-Krüger of zone 3
    model = PandapipesReader().read(path, request)
    from twin.crs import to_lonlat

    longitude, latitude = to_lonlat(model.placement.crs, model.nodes[0].point.x, model.nodes[0].point.y)
    assert (float(longitude), float(latitude)) == pytest.approx((7.88, 48.46), abs=0.05)  # Schutterwald, Baden


def test_lengths_diameters_heights_and_materials_become_metres_and_words(tmp_path: Path) -> None:
    model = read(tmp_path, small())
    first, second = model.links
    assert (first.id, first.name) == ("net.json:link:pipe 2", "P")  # the name is no id: two pipes have it
    assert (first.length_m, first.diameter_m, second.diameter_m) == (120, 0.1, None)
    assert (first.start_level_m, first.end_level_m) == (5, 4)
    assert (first.material, second.material) == (None, "PE")
    assert (first.status, second.status) == ("open", "closed")
    assert list(first.line.coords) == [(0, 0, 5), (100, 0, 4)]
    assert [node.id for node in model.nodes] == [
        "net.json:node:a",
        "net.json:node:junction 5",
        "net.json:node:junction 7",
    ]
    assert [node.status for node in model.nodes] == [None, None, "closed"]


def test_other_components_are_typed(tmp_path: Path) -> None:
    ends = ["name", "from_junction", "to_junction"]
    model = read(
        tmp_path,
        small(
            valve=table([*ends, "diameter_m", "opened"], [["V", 3, 5, 0.1, False]]),
            compressor=table(ends, [["C", 3, 5]]),
            pressure_control=table(ends, [["R", 5, 7]]),
            ext_grid=table(["name", "junction", "p_bar"], [["grid", 3, 1.5]]),
            sink=table(["junction", "mdot_kg_per_s", "scaling"], [[5, 0.2, 2.0], [5, 0.1, 1.0]]),
            mystery=table(["x"], [[1]]),
        ),
    )
    kinds = {link.name: link.kind for link in model.links}
    assert (kinds["V"], kinds["C"], kinds["R"]) == (LinkKind.VALVE, LinkKind.COMPRESSOR, LinkKind.REGULATOR)
    assert next(link.status for link in model.links if link.name == "V") == "closed"
    nodes = {node.name: node for node in model.nodes}
    assert nodes["a"].kind is NodeKind.SOURCE
    assert nodes["a"].properties["pressure_pa"] == 150_000
    assert nodes["junction 5"].kind is NodeKind.CUSTOMER
    assert nodes["junction 5"].properties["demand_kg_s"] == pytest.approx(0.5)
    assert [issue.code for issue in model.issues] == ["E_TABLE"]


def test_valves_at_the_ends_of_pipes_shut_their_pipe(tmp_path: Path) -> None:
    valve = table(["name", "junction", "element", "et", "opened"], [["V", 3, 2, "pi", False], ["W", 3, 5, "ju", True]])
    model = read(tmp_path, small(valve=valve))
    links = {link.id.rpartition(":")[2]: link for link in model.links}
    assert (links["pipe 2"].status, links["pipe 2"].properties["valve"]) == ("closed", "V")
    assert links["W"].kind is LinkKind.VALVE
    assert len(model.links) == 3


def test_bends_of_pipes_are_drawn(tmp_path: Path) -> None:
    bends = table(["coords"], [[[[0, 0], [50, 20], [100, 0]]]], [2])
    assert list(read(tmp_path, small(pipe_geodata=bends)).links[0].line.coords)[1][:2] == (50, 20)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"pipe": table(["from_junction", "to_junction"], [[3, 99]])}, "E_NODE"),
        ({"pipe": table(["from_junction", "to_junction"], [[[3], 5]])}, "E_NODE"),
        ({"pipe": table(["from_junction", "to_junction", "length_km"], [[3, 5, "long"]])}, "E_SYNTAX"),
        ({"junction": table(["name"], [])}, "E_EMPTY"),
        ({"junction": table(["name"], [["a"], ["b"]], [3, 3])}, "E_ID"),
        ({"junction": {"_class": "DataFrame", "_object": "{"}}, "E_FORMAT"),
        (
            {"junction": {"_class": "DataFrame", "_object": '{"columns": ["a"], "index": [0], "data": [[1, 2]]}'}},
            "E_FORMAT",
        ),
    ],
)
def test_net_that_is_wrong_is_refused_with_its_reason(tmp_path: Path, change: dict, code: str) -> None:
    whole = small()
    whole["_object"].update(change)
    with pytest.raises(InputError) as error:
        read(tmp_path, whole)
    assert error.value.code == code


def test_cut_off_or_nested_file_is_refused(tmp_path: Path) -> None:
    whole = json.dumps(small())
    for content in (whole[:-20], "[" * 100_000, '{"_class": "pandapipesNet"}', "null"):
        with pytest.raises(InputError):
            read(tmp_path, content)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["_object", "a", "columns"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["junction", "pipe", "junction_geodata", "pipe_geodata", "valve", "sink", "fluid"]), st.data())
def test_any_table_gives_a_model_or_an_input_error(tmp_path: Path, name: str, data) -> None:
    columns = ["name", "from_junction", "to_junction", "junction", "x", "y", "coords", "length_km", "element", "et"]
    rows = data.draw(st.lists(st.lists(VALUE | st.sampled_from([3, 5, "pi"]), min_size=10, max_size=10), max_size=3))
    whole = small()
    whole["_object"][name] = data.draw(st.just(table(columns, rows, [3, 5, 7][: len(rows)])) | VALUE)
    try:
        read(tmp_path, whole)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
