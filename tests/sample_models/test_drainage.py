"""The drainage of the sample district, as SWMM sees it."""

from pathlib import Path

import networkx as nx
import pytest
from pyswmm import Links, Nodes, Simulation


@pytest.fixture(scope="module")
def sections(district: Path) -> dict[str, list[list[str]]]:
    return read_sections(district / "drainage.inp")


def read_sections(path: Path) -> dict[str, list[list[str]]]:
    """Rows of each section, without comments."""
    rows: dict[str, list[list[str]]] = {}
    name = ""
    for raw in path.read_text("utf-8").splitlines():
        line = raw.split(";")[0].strip()
        if line.startswith("["):
            name = line.strip("[]")
        elif line:
            rows.setdefault(name, []).append(line.split())
    return rows


def test_drainage_has_its_parts(sections: dict[str, list[list[str]]]) -> None:
    tags = {row[1]: row[2] for row in sections["TAGS"] if row[0] == "Link"}
    conduits = [row[0] for row in sections["CONDUITS"]]
    assert len(conduits) >= 300
    assert {tags[name] for name in conduits} == {"sanitary", "storm"}
    assert len(sections["PUMPS"]) == 2
    assert len(sections["OUTFALLS"]) == 4
    assert len(sections["SUBCATCHMENTS"]) >= 40
    assert len(sections["DWF"]) >= 140


def test_every_manhole_drains_to_an_outfall_of_its_own_system(sections: dict[str, list[list[str]]]) -> None:
    graph = nx.DiGraph()
    for row in sections["CONDUITS"] + sections["PUMPS"]:
        graph.add_edge(row[1], row[2])
    tags = {row[1]: row[2] for row in sections["TAGS"] if row[0] == "Node"}
    reaches: dict[str, set[str]] = {}
    for outfall in (row[0] for row in sections["OUTFALLS"]):
        for name in nx.ancestors(graph, outfall):
            reaches.setdefault(name, set()).add(tags[outfall])
    for row in sections["JUNCTIONS"] + sections["STORAGE"]:
        assert reaches[row[0]] == {tags[row[0]]}


def test_no_drain_runs_uphill_and_manholes_are_of_real_depth(sections: dict[str, list[list[str]]]) -> None:
    invert = {row[0]: float(row[1]) for name in ("JUNCTIONS", "OUTFALLS", "STORAGE") for row in sections[name]}
    for row in sections["CONDUITS"]:
        assert invert[row[1]] > invert[row[2]] + float(row[6])
    depths = [float(row[2]) for row in sections["JUNCTIONS"]]
    assert 1.0 < min(depths) < max(depths) < 7.0


def run(path: Path, folder: Path) -> tuple[float, dict[str, float], int]:
    """Continuity error (%), volumes flooded (l), and times that the lift pump changed, over a day."""
    with Simulation(str(path), str(folder / "day.rpt"), str(folder / "day.out")) as simulation:
        pump = Links(simulation)["LP-1"]
        simulation.step_advance(60)
        changes, running = 0, False
        for _ in simulation:
            changes += running != (pump.flow > 0)
            running = pump.flow > 0
        flooded = {n.nodeid: n.statistics["flooding_volume"] for n in Nodes(simulation)}
        simulation._model.swmm_end()
        return simulation.flow_routing_error, {k: v for k, v in flooded.items() if v > 0}, changes


@pytest.mark.slow
@pytest.mark.parametrize("rain", ["SHOWER", None])
def test_swmm_solves_a_day_without_flooding(district: Path, tmp_path: Path, rain: str | None) -> None:
    text = (district / "drainage.inp").read_text("utf-8")
    if rain is None:
        text = "\n".join(
            line if not line.startswith("SHOWER") else line.rsplit(" ", 1)[0] + " 0" for line in text.splitlines()
        )
    path = tmp_path / "drainage.inp"
    path.write_text(text, encoding="utf-8")
    error, flooded, changes = run(path, tmp_path)
    assert abs(error) < 5.0
    assert flooded == {}
    assert changes > 6
