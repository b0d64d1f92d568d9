"""Where the pipes of a building model meet the network."""

from __future__ import annotations

from pathlib import Path

import pytest
from shapely import Point

from twin.asset import FREE_PORTS, Element, LinkKind, NodeKind, System, asset_id
from twin.city import City
from twin.effects.joints import STATED, joints, system_of


def element(name: str, at: tuple[float, float, float], system: str | None, *connects: str, **properties) -> Element:
    return Element(
        asset_id("model", "element", name),
        name,
        "IfcPipeSegment",
        name,
        system=system,
        position=Point(at),
        connects=[asset_id("model", "element", each) for each in connects],
        properties=properties,
    )


@pytest.fixture
def riser(drawing):
    """A water riser of three pieces in a house, fed 3 m away by a DN100 service; gas passes 1 m beside it."""
    drawing.node("J", System.WATER, NodeKind.JUNCTION, 0, -30, 4)
    drawing.node("C", System.WATER, NodeKind.CUSTOMER, 0, -3, 4)
    drawing.link("S", LinkKind.SERVICE, "J", "C", diameter_m=0.1)
    drawing.node("GJ", System.GAS, NodeKind.JUNCTION, 1, -30, 4)
    drawing.node("GC", System.GAS, NodeKind.CUSTOMER, 1, -1, 4)
    drawing.link("GS", LinkKind.SERVICE, "GJ", "GC", diameter_m=0.05)
    bore = {"Pset_Pipe.NominalDiameter": 50.0}
    drawing.elements += [
        element("foot", (0, 0, 4), "给水系统", "middle", **bore, **{FREE_PORTS: "SINK 0.000 0.000 4.000"}),
        element("middle", (0, 0, 7), "给水系统", "foot", "top", **bore),
        element("top", (0, 0, 10), "给水系统", "middle", **bore, **{FREE_PORTS: "SOURCE 0.000 0.000 12.000"}),
    ]
    return drawing


def test_a_riser_is_joined_at_the_sink_that_lies_nearest_to_an_end_of_its_system(riser, tmp_path: Path) -> None:
    with riser.city(tmp_path / "c.gpkg") as city:
        (joint,) = joints(city)

    assert (joint.node, joint.element) == ("net:node:C", "model:element:foot")
    assert joint.distance_m == pytest.approx(3.0)
    assert joint.confidence == pytest.approx(0.9 * (1 - 3 / 50))  # all agrees: only the distance counts


def test_what_the_model_states_is_believed_and_the_run_is_joined_once(riser, tmp_path: Path) -> None:
    riser.node("X", System.WATER, NodeKind.CUSTOMER, 0, 20, 4)
    riser.elements[1] = element(
        "middle", (0, 0, 7), "给水系统", "foot", "top", **{"Chengmai_Connection.Node": "net:node:X"}
    )
    with riser.city(tmp_path / "c.gpkg") as city:
        (joint,) = joints(city)

    assert (joint.node, joint.element, joint.confidence) == ("net:node:X", "model:element:middle", 1.0)
    assert joint.why.startswith(STATED)


def test_waste_leaves_at_a_source(riser, tmp_path: Path) -> None:
    riser.node("W", System.DRAINAGE, NodeKind.MANHOLE, 10, -3, 2)
    riser.node("W2", System.DRAINAGE, NodeKind.MANHOLE, 10, -30, 1)
    riser.link("D", LinkKind.CONDUIT, "W", "W2", diameter_m=0.3)
    stack = "SINK 10.000 0.000 2.500; SOURCE 10.000 -1.000 2.000"
    riser.elements[:] = [element("stack", (10, 0, 2), "排水系统", **{FREE_PORTS: stack})]
    with riser.city(tmp_path / "c.gpkg") as city:
        (joint,) = joints(city)

    assert joint.node == "net:node:W"
    assert joint.distance_m == pytest.approx(2.0)  # from the source, not from the sink


def test_a_model_without_ports_is_joined_at_the_end_of_a_run_with_less_confidence(riser, tmp_path: Path) -> None:
    riser.elements[:] = [
        element("foot", (0, 0, 4), "给水系统", "middle"),
        element("middle", (0, 0, 7), "给水系统", "foot", "top"),
        element("top", (0, 0, 10), "给水系统", "middle"),
    ]
    with riser.city(tmp_path / "c.gpkg") as city:
        (joint,) = joints(city)

    assert joint.element == "model:element:foot"
    assert joint.confidence < 0.9 * (1 - 3 / 50)
    assert "no ports" in joint.why


def test_a_riser_wider_than_its_connection_is_doubted(riser, tmp_path: Path) -> None:
    wide = {"Pset_Pipe.NominalDiameter": 300.0, FREE_PORTS: "SINK 0.000 0.000 4.000"}
    riser.elements[:] = [element("foot", (0, 0, 4), "给水系统", **wide)]
    with riser.city(tmp_path / "c.gpkg") as city:
        (joint,) = joints(city)

    assert "wider" in joint.why


def test_pipes_out_of_reach_or_of_a_system_that_is_not_there_are_not_joined(riser, tmp_path: Path) -> None:
    riser.elements[:] = [
        element("far", (500, 0, 4), "给水系统", **{FREE_PORTS: "SINK 500 0 4"}),
        element("heat", (0, 0, 4), "采暖系统", **{FREE_PORTS: "SINK 0 0 4"}),
    ]
    with riser.city(tmp_path / "c.gpkg") as city:
        assert joints(city) == []


def test_systems_are_known_by_their_words() -> None:
    assert system_of("Domestic Cold Water") is System.WATER
    assert system_of("Wastewater") is System.DRAINAGE
    assert system_of("雨水系统") is System.RAIN
    assert system_of(None, "GASCOCK") is System.GAS
    assert system_of("Ventilation") is None


@pytest.mark.slow
def test_the_samples_models_join_where_they_say_they_do(sample_city: City) -> None:
    """Every connection that the models state is a joint; without the statement position alone finds the same nodes."""
    found = {joint.element: joint for joint in joints(sample_city)}
    elements = sample_city.table("elements")
    said = elements["properties"].str.extract('"Chengmai_Connection.Node":"(?P<node>[^"]+)"')["node"].dropna()
    assert {element: joint.node for element, joint in found.items()} == said.to_dict()
    assert len(said) > 10

    class Silent:
        """The same city, its models silent about their connections."""

        counts = sample_city.counts

        def table(self, name: str, **options):
            frame = sample_city.table(name, **options)
            if name != "elements":
                return frame
            return frame.assign(properties=frame["properties"].str.replace("Chengmai_Connection.Node", "Nothing.Said"))

    guessed = {joint.element: joint.node for joint in joints(Silent())}  # pyright: ignore[reportArgumentType]
    assert guessed.items() <= said.to_dict().items()  # the entry valve and the foot of the stack, by their free ports
    assert len(guessed) == len(said) - 1  # one riser stands 28 m from its connection: further than is looked for
