"""Differences of revisions: what was renewed is told, a re-export with new ids is no difference."""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import ifcopenshell
import ifcopenshell.guid
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from ifcopenshell.util.unit import calculate_unit_scale

from tests.twin.readers.test_epanet import SMALL
from tests.twin.test_city import PLACED
from twin.asset import Element, Link, LinkKind, Node, NodeKind, System, asset_id
from twin.diff import Difference, difference
from twin.matching import MATCH_M, Match
from twin.model import Model, ReadRequest
from twin.readers.epanet import EpanetReader
from twin.readers.ifc.reader import IfcReader
from twin.writers.glb import Surface, glb


def read(path: Path) -> Model:
    return IfcReader().read(path, ReadRequest("block-07.ifc", "EPSG:4549"))


@pytest.fixture(scope="module")
def block(district: Path) -> Model:
    return read(district / "block-07.ifc")


def rewritten(path: Path, to: Path, change: Callable[[ifcopenshell.file], object]) -> Model:
    """Write the file at `path` to `to` after `change`, and read it."""
    file = ifcopenshell.open(str(path))
    change(file)
    file.write(str(to))
    return read(to)


def with_new_guids(file: ifcopenshell.file) -> None:
    for entity in file.by_type("IfcRoot"):
        entity.GlobalId = ifcopenshell.guid.new()


@pytest.mark.slow
def test_renewed_block_is_told_as_another_library_sees_it(district: Path, block: Model) -> None:
    """By GlobalId: what ifcopenshell alone finds in one file and not in the other."""
    new = read(district / "block-07-renewed.ifc")
    found = difference(block, new)
    files = [ifcopenshell.open(str(district / name)) for name in ("block-07.ifc", "block-07-renewed.ifc")]
    classes = [{each.GlobalId: each.is_a() for each in file.by_type("IfcElement")} for file in files]
    elements = [{each.guid for each in model.elements} for model in (block, new)]
    gone = [classes[0][guid] for guid in classes[0] if guid not in classes[1] and guid in elements[0]]
    come = [classes[1][guid] for guid in classes[1] if guid not in classes[0] and guid in elements[1]]
    assert Counter(each.kind for each in found.removed) == Counter(gone)
    assert Counter(each.kind for each in found.added) == Counter(come)
    assert gone
    assert come
    assert {pair.by for pair in found.pairs} == {Match.ID}
    u_values = [
        {
            wall.GlobalId: prop.NominalValue.wrappedValue
            for wall in file.by_type("IfcWall")
            for relation in wall.IsDefinedBy
            for prop in relation.RelatingPropertyDefinition.HasProperties
            if prop.Name == "ThermalTransmittance"
        }
        for file in files
    ]
    insulated = {guid for guid, u in u_values[0].items() if u_values[1].get(guid, u) != u}
    told = {
        pair.new.rpartition(":")[2]
        for pair in found.changed
        for change in pair.changes
        if change.field == "properties.Pset_WallCommon.ThermalTransmittance"
    }
    assert told == insulated
    assert told


@pytest.mark.slow
def test_re_export_with_new_guids_is_no_difference(district: Path, block: Model, tmp_path: Path) -> None:
    again = rewritten(district / "block-07.ifc", tmp_path / "again.ifc", with_new_guids)
    found = difference(block, again)
    assert found.is_empty, found.summary()
    assert (
        len(found.reidentified)
        == len(found.pairs)
        == sum(len(getattr(block, table)) for table in ("buildings", "storeys", "spaces", "elements"))
    )
    names = {each.id: (each.name, each.ifc_class) for model in (block, again) for each in model.elements}
    assert all(names[old] == names[new] for old, new in found.reidentified.items() if old in names)


@pytest.mark.slow
def test_changes_in_a_re_export_with_new_guids_are_told(district: Path, tmp_path: Path) -> None:
    """A door of a name of its own raised by 2 m, one window renamed, one valve deleted, all GlobalIds new."""
    wanted: dict[str, str] = {}

    def name_a_door(file: ifcopenshell.file) -> None:
        file.by_type("IfcDoor")[3].Name = "the only door of this name"

    def change(file: ifcopenshell.file) -> None:
        door, window, valve = (file.by_type(name)[3] for name in ("IfcDoor", "IfcWindow", "IfcValve"))
        wanted.update(door=door.GlobalId, window=window.GlobalId, valve=valve.GlobalId)
        window.Name = "another name"
        frame = door.ObjectPlacement.RelativePlacement
        x, y, z = frame.Location.Coordinates
        raised = file.create_entity("IfcCartesianPoint", (x, y, z + 2.0 / calculate_unit_scale(file)))
        door.ObjectPlacement.RelativePlacement = file.create_entity("IfcAxis2Placement3D", raised, *list(frame)[1:])
        file.remove(valve)
        with_new_guids(file)

    old = rewritten(district / "block-07.ifc", tmp_path / "old.ifc", name_a_door)
    found = difference(old, rewritten(tmp_path / "old.ifc", tmp_path / "new.ifc", change))
    assert [each.asset.rpartition(":")[2] for each in found.removed] == [wanted["valve"]]
    assert found.added == []
    [moved] = found.moved
    assert moved.old.rpartition(":")[2] == wanted["door"]
    assert moved.moved_m == pytest.approx(2.0, abs=1e-6)
    assert moved.by is Match.LIKENESS
    renamed = [pair for pair in found.changed if any(each.field == "name" for each in pair.changes)]
    assert [pair.old.rpartition(":")[2] for pair in renamed] == [wanted["window"]]
    assert renamed[0].by is Match.PLACE


def town(tmp_path: Path, text: str) -> Model:
    path = tmp_path / "town.inp"
    path.write_text(text, "utf-8")
    return EpanetReader().read(path, ReadRequest("town.inp", "EPSG:4549", "EPSG:4549"))


def test_renewed_pipe_of_an_inp_is_told_with_its_fields(tmp_path: Path) -> None:
    """The same id: its fields changed. Another id at the same place: the same pipe under a new name."""
    old = town(tmp_path, SMALL.format(units="LPS"))
    pipe = next(link for link in old.links if link.kind is LinkKind.PIPE)
    wider = [replace(link, diameter_m=0.4, year=2026) if link is pipe else link for link in old.links]
    found = difference(old, replace(old, links=wider))
    [pair] = found.changed
    assert {(each.field, each.before, each.after) for each in pair.changes} == {
        ("diameter_m", pipe.diameter_m, 0.4),
        ("year", None, 2026),
    }
    renamed = replace(pipe, id=asset_id("town.inp", "link", "P1-2026"), name="P1-2026", diameter_m=0.4)
    found = difference(old, replace(old, links=[renamed if link is pipe else link for link in old.links]))
    assert found.reidentified == {pipe.id: renamed.id}
    assert (found.added, found.removed, found.moved) == ([], [], [])
    assert next(pair for pair in found.pairs if pair.old == pipe.id).by is Match.PLACE
    found = difference(old, replace(old, links=[link for link in old.links if link is not pipe]))
    assert [each.asset for each in found.removed] == [pipe.id]


def test_links_of_renamed_nodes_do_not_change(tmp_path: Path) -> None:
    old = town(tmp_path, SMALL.format(units="LPS"))
    to = {node.id: asset_id("town.inp", "node", f"new-{n}") for n, node in enumerate(old.nodes)}
    nodes = [replace(node, id=to[node.id]) for node in old.nodes]
    links = [replace(link, start=link.start and to[link.start], end=link.end and to[link.end]) for link in old.links]
    found = difference(old, replace(old, nodes=nodes, links=links))
    assert found.is_empty
    assert found.reidentified == to


def test_pipe_that_was_cut_lives_on_in_its_longest_part() -> None:
    whole = pipe("P", [(0, 0), (10, 0)])
    parts = [
        replace(pipe("P/1", [(0, 0), (3, 0)]), properties={"part_of": whole.id}),
        replace(pipe("P/2", [(3, 0), (10, 0)]), properties={"part_of": whole.id}),
    ]
    there, back = difference(network([whole]), network(parts)), difference(network(parts), network([whole]))
    assert there.reidentified == {whole.id: parts[1].id}
    assert [each.asset for each in there.added] == [parts[0].id]
    assert back.reidentified == {parts[1].id: whole.id}


def test_two_candidates_at_one_place_are_not_guessed() -> None:
    old = network([replace(pipe("A", [(0, 0), (10, 0)]), diameter_m=0.1)])
    twins = [replace(pipe(name, [(0, 0), (10, 0)]), diameter_m=size) for name, size in (("B", 0.2), ("C", 0.3))]
    found = difference(old, network(twins))
    assert (len(found.added), len(found.removed), found.reidentified) == (2, 1, {})


def pipe(name: str, corners: list[tuple[float, float]]) -> Link:
    line = shapely.LineString(corners)
    return Link(asset_id("n", "link", name), name, System.WATER, LinkKind.PIPE, line)


def network(links: list[Link]) -> Model:
    return Model("n", "t", PLACED, links=links)


def element(number: int, place: tuple[float, float, float], ifc_class: str, name: str) -> Element:
    return Element(
        asset_id("m", "element", f"{number:022d}"), f"{number:022d}", ifc_class, name, position=shapely.Point(place)
    )


grid = st.integers(0, 6).map(lambda value: value * MATCH_M * 3)
"""Places farther apart than the tolerance, or the same."""
elements = st.lists(
    st.builds(
        lambda n, x, y, z, kind, name: element(n, (x, y, z), kind, name),
        st.just(0),
        grid,
        grid,
        grid,
        st.sampled_from(("IfcWall", "IfcDoor")),
        st.sampled_from(("a", "b")),
    ),
    max_size=30,
).map(lambda each: [replace(e, id=asset_id("m", "element", str(n)), guid=str(n)) for n, e in enumerate(each)])


@settings(deadline=None)
@given(elements, st.randoms(use_true_random=False), st.floats(0, MATCH_M * 0.4))
def test_any_model_with_new_ids_in_another_order_is_the_same(
    made: list[Element], chance: random.Random, by: float
) -> None:
    """Everything may even shift by less than the tolerance; what is alike may be taken for each other."""
    shifted = [
        replace(e, id=asset_id("m", "element", f"new-{n}"), guid=f"new-{n}", position=shapely.affinity.translate(p, by))
        for n, e in enumerate(made)
        if (p := e.position) is not None
    ]
    chance.shuffle(shifted)
    found = elements_of(made, shifted)
    assert (found.added, found.removed, found.changed) == ([], [], [])
    assert len(found.pairs) == len(made)
    back = elements_of(shifted, made)
    assert {new: old for old, new in back.reidentified.items()}.keys() == found.reidentified.keys()


def elements_of(old: list[Element], new: list[Element]) -> Difference:
    return difference(Model("m", "t", PLACED, elements=old), Model("m", "t", PLACED, elements=new))


@settings(deadline=None)
@given(elements, elements)
def test_every_asset_is_in_one_place_of_the_difference(old: list[Element], new: list[Element]) -> None:
    new = [replace(each, id=asset_id("m", "element", f"n{n}")) for n, each in enumerate(new)]
    found = elements_of(old, new)
    assert sorted([*(each.asset for each in found.removed), *(pair.old for pair in found.pairs)]) == sorted(
        each.id for each in old
    )
    assert sorted([*(each.asset for each in found.added), *(pair.new for pair in found.pairs)]) == sorted(
        each.id for each in new
    )
    assert found.json() == elements_of(old, new).json()


def test_matching_a_crowd_at_one_place_is_no_quadratic_work() -> None:
    """As exports that place everything at the storey's origin: 20,000 there would be 4·10^8 pairs."""
    crowd = [element(n, (0.0, 0.0, 0.0), "IfcWall", f"wall {n % 5000}") for n in range(20_000)]
    again = [replace(each, id=asset_id("m", "element", f"n{n}")) for n, each in enumerate(reversed(crowd))]
    found = elements_of(crowd, again)
    assert found.is_empty
    names = {each.id: each.name for each in (*crowd, *again)}
    assert all(names[old] == names[new] for old, new in found.reidentified.items())


def meshed(boxes: Mapping[str, tuple[float, ...]]) -> bytes:
    """Return a GLB of a box an element: least corner and size, x y z each."""
    surfaces = []
    for number, (x, y, z, *size) in enumerate(boxes.values()):
        corners = np.array([x, y, z]) + list(itertools.product(*((0.0, side) for side in size)))
        quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
        triangles = np.array([corner for a, b, c, d in quads for corner in ((a, b, c), (a, c, d))], np.int32)
        surfaces.append(Surface(number, (1, 1, 1, 1), corners, np.tile((0.0, 0.0, 1.0), (8, 1)), triangles))
    made = glb(surfaces, [(guid, "IfcWall", guid) for guid in boxes])
    assert made is not None
    return made


def test_wall_that_is_built_otherwise_is_changed_and_one_that_moved_is_not() -> None:
    """The origin of the mesh moves too, as with a new wing: only sizes count. Areas of boxes by hand."""
    walls = [element(n, (n, 0.0, 0.0), "IfcWall", f"wall {n}") for n in range(3)]
    guids = [each.guid for each in walls]
    old = dict(zip(guids, [(0, 0, 0, 4, 0.3, 3), (9, 0, 0, 4, 0.3, 3), (20, 0, 0, 4, 0.3, 3)], strict=True))
    new = dict(zip(guids, [(50, 9, 1, 4, 0.3, 3), (59, 9, 1, 5, 0.3, 3), (71, 9, 1, 4, 0.3, 3)], strict=True))
    models = [Model("m", "t", PLACED, elements=walls, mesh=meshed(boxes)) for boxes in (old, new)]
    found = difference(*models)
    [pair] = found.changed
    assert pair.new == walls[1].id
    [change] = pair.changes
    assert change.field == "shape"
    assert (change.before["x_m"], change.after["x_m"]) == (4.0, 5.0)
    assert change.before["area_m2"] == pytest.approx(2 * (4 * 0.3 + 4 * 3 + 0.3 * 3))
    assert change.after["area_m2"] == pytest.approx(2 * (5 * 0.3 + 5 * 3 + 0.3 * 3))
    bare = difference(models[0], replace(models[0], mesh=meshed({guids[0]: old[guids[0]]})))
    assert {pair.new: [(each.field, each.after) for each in pair.changes] for pair in bare.changed} == {
        wall.id: [("shape", None)] for wall in walls[1:]
    }


def test_move_is_measured_in_space_and_along_lines() -> None:
    old = [Node(asset_id("n", "node", "A"), "A", System.WATER, NodeKind.JUNCTION, shapely.Point(0, 0, 10))]
    found = difference(
        Model("n", "t", PLACED, nodes=old, links=[pipe("P", [(0, 0), (10, 0)])]),
        Model(
            "n",
            "t",
            PLACED,
            nodes=[replace(old[0], point=shapely.Point(3, 4, 22))],
            links=[pipe("P", [(0, 0), (5, 2), (10, 0)])],
        ),
    )
    assert {pair.table: pair.moved_m for pair in found.moved} == {"nodes": 13.0, "links": 2.0}
