"""The eighteen real IFC files: a receipt for each, and the traps of georeferencing placed right or kept out.

Where a model should stand is worked out here from the text of its file, without the reader: numbers are picked out of
the STEP lines by hand and carried by pyproj.
"""

import json
import re
import subprocess
import sys
from functools import cache

import pytest
from pyproj import Geod, Transformer

from twin.model import Decision, ReadRequest
from twin.readers.ifc.reader import IfcReader

pytestmark = pytest.mark.data


def placement(data, name, **request):
    path = data / "ifc" / f"{name}.ifc"
    return IfcReader().read(path, ReadRequest(path.name, **request)).placement


@cache
def text(data, name):
    return (data / "ifc" / f"{name}.ifc").read_text(encoding="ascii", errors="replace")


def numbers(data, name, entity):
    """Return the numbers of the first line of `entity`, references and strings left out."""
    arguments = re.search(rf"{entity}\((.*?)\);", text(data, name)).group(1)
    arguments = re.sub(r"#\d+|'[^']*'|\$", "", arguments)
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:[Ee][-+]?\d+)?", arguments)]


def site_lonlat(data, name):
    """Degrees of the first site with a latitude: degrees, minutes, seconds, millionths."""
    parts = re.search(r"IFCSITE\(.*?\((-?\d[^)]*)\),\((-?\d[^)]*)\)", text(data, name)).groups()
    latitude, longitude = (
        sum(float(part) / divisor for part, divisor in zip(angle.split(","), (1, 60, 3600, 3.6e9), strict=False))
        for angle in parts
    )
    return longitude, latitude


def test_utm_stands_at_the_eastings_and_northings_of_its_conversion(data):
    east, north, height = numbers(data, "georef_utm_4x3", "IFCMAPCONVERSION")[:3]
    found = placement(data, "georef_utm_4x3")
    assert (found.decision, found.level, found.crs) == (Decision.PLACED, 50, "EPSG:25832")
    assert found.origin == pytest.approx((east, north, height))
    longitude, latitude = Transformer.from_crs(25832, 4326, always_xy=True).transform(east, north)
    distance = Geod(ellps="WGS84").inv(longitude, latitude, *site_lonlat(data, "georef_utm_4x3"))[2]
    assert distance < 1  # the site says the same, so it is no rival
    assert not any("latitude" in line for line in found.rivals)


@pytest.mark.slow
def test_millimetres_of_the_map_are_metres_in_the_city(data):
    east, north = numbers(data, "georef_pcert_bridge_mm_crs_4", "IFCMAPCONVERSION")[:2]
    found = placement(data, "georef_pcert_bridge_mm_crs_4")
    assert (found.decision, found.crs) == (Decision.PLACED, "EPSG:32760")
    assert found.origin[:2] == pytest.approx((east / 1000, north / 1000))


def test_us_survey_feet_are_carried_to_metres(data):
    """EPSG:2240 is in US survey feet, and so are project and map: 1200 / 3937 m each, through PROJ to UTM."""
    east, north = numbers(data, "georef_us_survey_foot_4x3", "IFCMAPCONVERSION")[:2]
    found = placement(data, "georef_us_survey_foot_4x3")
    assert (found.decision, found.unit_scale) == (Decision.PLACED, pytest.approx(1200 / 3937))
    move = Transformer.from_crs(2240, found.crs, always_xy=True)
    assert found.origin[:2] == pytest.approx(move.transform(east, north), abs=4)  # as accurate as PROJ says it is
    site = Transformer.from_crs(4326, found.crs, always_xy=True).transform(
        *site_lonlat(data, "georef_us_survey_foot_4x3")
    )
    assert found.origin[:2] == pytest.approx(site, abs=4)


@pytest.mark.slow
def test_a_property_set_on_the_site_places_and_the_default_site_is_a_rival_an_ocean_away(data):
    found = placement(data, "georef_duplex_epset_on_site_2x3")
    assert (found.decision, found.level) == (Decision.PLACED, 50)
    assert found.origin[:2] == (76_670, 77_179)  # Eastings and Northings of #39119 and #39120, in LUREF
    there = Transformer.from_crs(2169, 4326, always_xy=True).transform(76_670, 77_179)
    away = Geod(ellps="WGS84").inv(*there, *site_lonlat(data, "georef_duplex_epset_on_site_2x3"))[2]
    assert any(line.endswith(f"is {away:.0f} m away") for line in found.rivals)
    assert any("Chicago" in line for line in found.rivals)


def test_a_crs_as_compound_wkt_places_alignments_amid_their_points(data):
    """The operation is zero and the alignment in map coordinates: its middle is the middle of its segments' starts."""
    name = "georef_wkt_compound_4x3"
    points = dict(re.findall(r"(#\d+) = IFCCARTESIANPOINT\(\(([^)]*)\)\)", text(data, name)))
    starts = re.findall(r"IFCALIGNMENTHORIZONTALSEGMENT\(\$, \$, (#\d+)", text(data, name))
    corners = [tuple(map(float, points[step].split(","))) for step in starts]
    middle = [(min(axis) + max(axis)) / 2 for axis in zip(*corners, strict=True)]
    found = placement(data, name)
    assert (found.decision, found.crs) == (Decision.PLACED, "EPSG:3065")
    assert found.origin[:2] == pytest.approx(middle, abs=1)  # whole metres
    assert any("EPSG:6670" in line for line in found.rivals)


def test_the_inverted_scale_is_kept_out_and_proposed_where_the_site_is(data):
    name = "georef_gk_scale_inverted_4x3"
    found = placement(data, name)
    assert found.decision is Decision.QUARANTINED
    assert "Scale is 1000, its inverse" in found.contradictions[0]
    site = Transformer.from_crs(4326, 31467, always_xy=True).transform(*site_lonlat(data, name))
    assert found.proposal.origin[:2] == pytest.approx(site, abs=3)  # DHDN to WGS 84 is good to metres
    assert (found.proposal.crs, found.proposal.why) == ("EPSG:31467", "Scale read as 0.001")


def test_millimetres_called_metres_of_feet_are_kept_out_and_proposed_in_rotterdam(data):
    name = "georef_revit_mm_eastings_4"
    found = placement(data, name)
    assert found.decision is Decision.QUARANTINED
    assert "called METER and is 0.3048 m" in found.contradictions[0]
    assert "outside the area of use" in found.contradictions[1]
    east, north, height = numbers(data, name, "IFCMAPCONVERSION")[:3]
    assert found.proposal.origin == pytest.approx((east / 1000, north / 1000, height / 1000))
    site = Transformer.from_crs(4326, 28992, always_xy=True).transform(*site_lonlat(data, name))
    assert found.proposal.origin[:2] == pytest.approx(site, abs=150)  # the same quay
    assert "millimetres" in found.proposal.why


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    files = sorted((data / "ifc").glob("*.ifc"))
    city = tmp_path_factory.mktemp("eighteen") / "c.gpkg"
    command = [sys.executable, "-m", "dashboards", "load", *map(str, files), "--city", str(city), "--json"]
    return subprocess.run(command, capture_output=True, check=False, timeout=800)


@pytest.fixture(scope="module")
def receipts(done):
    return {receipt["source"]: receipt for receipt in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestTheEighteen:
    """All files in one command, as a user types it; each is read here once."""

    def test_each_has_its_receipt_and_nothing_else_is_on_standard_output(self, data, done, receipts):
        assert sorted(receipts) == sorted(path.name for path in (data / "ifc").glob("*.ifc"))
        assert len(receipts) == len(done.stdout.splitlines()) == 18
        assert all(receipt["seconds"] > 0 and receipt["peak_mb"] > 0 for receipt in receipts.values())

    def test_the_two_broken_ones_are_refused_with_a_code_and_the_exit_status_says_so(self, done, receipts):
        codes = {name: receipt["errors"][0]["code"] for name, receipt in receipts.items() if receipt["refused"]}
        assert codes == {"bad_header.ifc": "E_FORMAT", "bad_schema_ifc20_longform.ifc": "E_SCHEMA"}
        assert done.returncode == 1

    def test_the_sums_hold_and_every_empty_or_failed_product_is_named(self, data, receipts):
        """Expected counts of products: as the files' index has them, counted when they were collected."""
        index = [line.split("\t") for line in (data / "ifc" / "INDEX.tsv").read_text(encoding="utf-8").splitlines()]
        products = {row[0]: row[index[0].index("products")] for row in index[1:]}
        for name, receipt in receipts.items():
            if receipt["refused"]:
                continue
            parts = receipt["meshed"] + receipt["empty"] + receipt["failed"] + sum(receipt["excluded"].values())
            assert receipt["products"] == parts == int(products[name])
            named = [each["guid"] for each in receipt["errors"] if each["code"] in {"E_GEOMETRY", "E_EMPTY_GEOMETRY"}]
            assert len(set(named)) == receipt["empty"] + receipt["failed"]
            assert receipt["schema_alias"] == ("IFC4X3_ADD2" if "rc3" in name else None)

    def test_products_without_representation_are_not_called_empty(self, receipts):
        receipt = receipts["mep_hvac_heating_4.ifc"]
        assert (receipt["products"], receipt["meshed"], receipt["empty"]) == (689, 222, 0)
        assert receipt["excluded"] == {"no representation": 467}
        assert (receipt["account"]["ports"], receipt["account"]["port_connections"]) == (464, 228)

    @pytest.mark.parametrize(
        ("name", "level"),
        [("arch_fzk_haus_4", 20), ("infra_drainage_manholes_4x3rc3", None), ("mep_hvac_heating_4", 10)],
    )
    def test_files_without_a_crs_are_not_placed(self, receipts, name, level):
        placement = receipts[f"{name}.ifc"]["placement"]
        assert (placement["decision"], placement["level"]) == ("unplaced", level)

    def test_the_first_file_with_a_crs_decides_the_citys_and_the_others_are_kept_out_by_name(self, receipts):
        """The order is the command's: the house in Luxembourg comes first of those that can be placed."""
        placements = {name: receipt["placement"] for name, receipt in receipts.items() if name.startswith("georef_")}
        assert placements.pop("georef_duplex_epset_on_site_2x3.ifc")["crs"] == "EPSG:2169"
        for placement in placements.values():
            assert placement["decision"] == "quarantined"
            assert placement["contradictions"]
            assert not placement["proposal"]["in_city"], "it is told where the model stands by itself"
        assert {name: placement["proposal"]["crs"] for name, placement in placements.items()} == {
            "georef_gk_scale_inverted_4x3.ifc": "EPSG:31467",
            "georef_pcert_bridge_mm_crs_4.ifc": "EPSG:32760",
            "georef_revit_mm_eastings_4.ifc": "EPSG:28992",
            "georef_us_survey_foot_4x3.ifc": "EPSG:32616",
            "georef_utm_4x3.ifc": "EPSG:25832",
            "georef_wkt_compound_4x3.ifc": "EPSG:3065",
        }
