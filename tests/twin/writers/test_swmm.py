"""SWMM files out: the reader finds again what went in, and the engine computes the same depths and flows."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from shapely import LineString, Point

from tests.twin.writers.same import differences
from twin.asset import Link, LinkKind, Node, NodeKind, System
from twin.errors import ChengmaiError
from twin.model import Decision, Model, Placement, ReadRequest
from twin.readers.swmm import SwmmReader
from twin.writers import swmm

PLACED = Placement(Decision.PLACED, "given", "EPSG:4549", accuracy_m=0.0)
ENGINE = """
import json, sys
from pyswmm import Links, Nodes, Simulation
rows = []
with Simulation(sys.argv[1]) as run:
    nodes, links = list(Nodes(run)), list(Links(run))
    for count, _ in enumerate(run):
        if count % 20 == 0:
            rows.append([*(n.depth for n in nodes), *(l.flow for l in links)])
        if count > 2000:
            break
names = sorted([*(n.nodeid for n in nodes), *(l.linkid for l in links)])
print(json.dumps({"names": names, "rows": rows, "order": [*(n.nodeid for n in nodes), *(l.linkid for l in links)]}))
"""
"""pyswmm runs one simulation a process."""


def read(path):
    return SwmmReader().read(path, ReadRequest("n.inp"))


def again(model, folder):
    path = folder / "again.inp"
    path.write_bytes(swmm.write(model).data)
    return read(path), path


def depths_and_flows(path, folder):
    """Return the names of nodes and links, and a row of their depths and flows at every twentieth step."""
    copy = folder / f"run-{path.name}"
    copy.write_bytes(path.read_bytes())  # the engine writes its report beside its input
    done = subprocess.run([sys.executable, "-c", ENGINE, str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    answer = json.loads(done.stdout.splitlines()[-1])
    order = np.argsort(answer["order"])
    return answer["names"], np.array(answer["rows"])[:, order]


@pytest.mark.data
def test_every_real_network_comes_back_as_it_was(data, tmp_path):
    compared = 0
    for path in sorted((data / "networks" / "drainage").rglob("*.inp")):
        try:
            model = read(path)
        except ChengmaiError:
            continue  # the broken ones, which other tests are about
        back, written = again(model, tmp_path)
        for table in ("nodes", "links", "zones"):
            assert differences(getattr(model, table), getattr(back, table)) == [], path.name
        once_more, _ = again(back, tmp_path)
        assert swmm.write(once_more).data == written.read_bytes(), path.name
        compared += 1
    assert compared >= 10


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["epa_Example1", "epa_Example3", "Example7-Final", "testcases/model_full_features_network_xy"]
)
def test_the_engine_computes_the_same_from_the_written_file(data, tmp_path, name):
    path = data / "networks" / "drainage" / f"{name}.inp"
    _, written = again(read(path), tmp_path)
    (names, before), (same_names, after) = (depths_and_flows(file, tmp_path) for file in (path, written))
    assert names == same_names
    assert before.shape == after.shape
    assert np.abs(before).max() > 0
    # Single-precision results of an iteration that stops at 0.005 ft of head (HEAD_TOLERANCE).
    assert np.allclose(before, after, rtol=1e-4, atol=1e-4)


def test_the_districts_own_drains_come_back_as_they_were(named, tmp_path):
    model = named["drainage.inp"]
    path = tmp_path / "again.inp"
    path.write_bytes(swmm.write(model).data)
    back = SwmmReader().read(path, ReadRequest("drainage.inp", "EPSG:4549", "EPSG:4549", System.DRAINAGE))
    for table in ("nodes", "links", "zones"):
        assert differences(getattr(model, table), getattr(back, table)) == []


def drains():
    """Return two manholes and an outfall as a survey has them: levels at the pipes' ends, no roughness."""
    nodes = [
        Node("n:node:a", "井 1", System.DRAINAGE, NodeKind.MANHOLE, Point(0, 0), ground_m=8.0, depth_m=2.0),
        Node("n:node:b", "b", System.DRAINAGE, NodeKind.MANHOLE, Point(50, 0), ground_m=7.5),
        Node("n:node:c", "c", System.DRAINAGE, NodeKind.OUTFALL, Point(90, 0), invert_m=4.0),
    ]
    links = [
        Link("n:link:1", "1", System.DRAINAGE, LinkKind.PIPE, LineString([(0, 0), (50, 0)]), nodes[0].id, nodes[1].id),
        Link(
            "n:link:2", "2", System.DRAINAGE, LinkKind.CONDUIT, LineString([(50, 0), (90, 0)]), nodes[1].id, nodes[2].id
        ),
    ]
    links[0] = replace(links[0], diameter_m=0.4, start_level_m=6.2, end_level_m=5.6)
    links[1] = replace(links[1], diameter_m=0.6, width_m=0.4, start_level_m=5.5, end_level_m=4.1)
    return Model("n", "survey", PLACED, nodes=nodes, links=links)


def test_a_network_of_another_source_keeps_levels_sizes_and_graph(tmp_path):
    model = replace(
        drains(), nodes=[replace(node, ground_m=None) if node.name == "b" else node for node in drains().nodes]
    )
    written = swmm.write(model)
    assert written.notes == ["2 roughnesses taken as 0.013 (Manning)"]
    back, _ = again(model, tmp_path)
    assert [node.name for node in back.nodes] == ["井_1", "b", "c"]
    # a: ground less depth; b: the lowest pipe that meets there; c: its own
    assert [node.invert_m for node in back.nodes] == pytest.approx([6.0, 5.5, 4.0])
    assert [(link.start_level_m, link.end_level_m) for link in back.links] == [
        pytest.approx((6.2, 5.6)),
        pytest.approx((5.5, 4.1)),
    ]
    assert [(link.diameter_m, link.width_m) for link in back.links] == [(0.4, None), (0.6, 0.4)]
    assert [link.length_m for link in back.links] == [50.0, 40.0]


@pytest.mark.slow
def test_a_network_of_another_source_runs_in_the_engine(tmp_path):
    _, path = again(drains(), tmp_path)
    names, rows = depths_and_flows(path, tmp_path)
    assert names == ["1", "2", "b", "c", "井_1"]
    assert np.allclose(rows, 0)  # nothing flows in


def test_conduit_out_of_use_is_left_out_and_told():
    model = drains()
    written = swmm.write(replace(model, links=[replace(model.links[0], status="废弃"), model.links[1]]))
    assert written.counts == {"nodes": 3, "links": 1}
    assert written.notes[0] == "1 links left out: out of use, and SWMM has no closed conduit"


def test_without_an_outfall_the_engine_will_not_run_and_that_is_said():
    model = drains()
    written = swmm.write(replace(model, nodes=model.nodes[:2], links=model.links[:1]))
    assert written.notes[0] == "no outfall: SWMM will refuse to run it"
