"""Mapping files and guesses: what a person says goes before any guess, and guesses are shown before they are used."""

import json
import math
import tomllib
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dashboards.cli import app
from sample_models import survey as sample
from twin.asset import System
from twin.errors import InputError
from twin.model import ColumnMapping, LayerColumns, ReadRequest
from twin.readers.gis import GisReader
from twin.readers.guesses import as_mapping, guesses
from twin.readers.mapping import MEANINGS, UNITS, mapping_text, read_mapping
from twin.readers.survey.reader import SurveyReader

LINES = [shapely.LineString([(500_000 + i, 3_300_000), (500_001 + i, 3_300_000)]) for i in range(3)]
ROWS = {
    "CODE": ["a", "b", "c"],
    "GJ": ["12", "16", "24"],
    "Depth": [3.28084, 6.56168, None],
    "MAT": ["DI", "CI", None],
    "remark": ["x", "y", "z"],
}


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "lines.gpkg"
    pyogrio.write_dataframe(gpd.GeoDataFrame(ROWS, geometry=LINES, crs=4549), path)
    return path


def mapping(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "map.toml"
    path.write_text(text, "utf-8")
    return path


def test_mapping_goes_before_guesses(layer: Path, tmp_path: Path) -> None:
    said = read_mapping(
        mapping(
            tmp_path,
            '[columns]\nid = "CODE"\ndiameter = "GJ"\nmaterial = ""\n'
            '[units]\ndiameter = "in"\ndepth_m = "ft"\n'
            '[values]\nsystem = "drainage"\nservice = "storm"\nowner = "city"\n',
        )
    )
    model = GisReader().read(layer, ReadRequest("x", columns=said))
    first, second, third = model.links
    assert [link.id for link in model.links] == ["x:link:a", "x:link:b", "x:link:c"]
    assert (first.diameter_m, second.diameter_m) == pytest.approx((0.3048, 0.4064))
    assert (first.depth_m, second.depth_m) == pytest.approx((1, 2), abs=1e-5)
    assert third.depth_m is None
    assert (first.material, first.properties["MAT"]) == (None, "DI")  # said to be no material
    assert {(link.system, link.service, link.owner) for link in model.links} == {(System.DRAINAGE, "storm", "city")}


def test_layers_have_their_own_words_over_those_for_all(layer: Path, tmp_path: Path) -> None:
    text = '[values]\nsystem = "gas"\nowner = "all"\n[layers.lines.values]\nsystem = "heat"\n'
    text += '[layers.other.values]\nyear = "1990"\n'
    model = GisReader().read(layer, ReadRequest("x", columns=read_mapping(mapping(tmp_path, text))))
    assert {(link.system, link.owner, link.year) for link in model.links} == {(System.HEAT, "all", None)}


def test_column_that_is_not_there_is_told(layer: Path) -> None:
    said = ColumnMapping(LayerColumns({"diameter": "DURCHMESSER"}, {"system": "water"}))
    model = GisReader().read(layer, ReadRequest("x", columns=said))
    assert ("E_MAPPING", "layer lines has no usable column 'DURCHMESSER'") in {
        (i.code, i.message) for i in model.issues
    }
    assert model.links[0].diameter_m is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[columns]\ncolour = "A"\n', "columns.colour is no meaning"),
        ("[columns]\nid = 3\n", "columns.id is 3"),
        ('[units]\ndiameter = "furlong"\n', "units.diameter is 'furlong'"),
        ('[units]\nmaterial = "m"\n', "units.material is 'm'"),
        ('[values]\nsystem = "steam"\n', "values.system is 'steam'"),
        ('[colums]\nid = "A"\n', "expected columns, values, units"),
        ("layers = 1\n", "layers is no table"),
        ("[columns\n", "is no TOML"),
    ],
)
def test_mapping_that_is_wrong_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        read_mapping(mapping(tmp_path, text))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_fixed_number_that_is_none_is_one_line(layer: Path) -> None:
    said = ColumnMapping(LayerColumns(fixed={"depth_m": "deep", "system": "gas"}))
    with pytest.raises(InputError, match=r"values\.depth_m.*'deep'"):
        GisReader().read(layer, ReadRequest("x", columns=said))


WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
LAYER = st.builds(
    LayerColumns,
    st.dictionaries(st.sampled_from(sorted(MEANINGS)), WORD, max_size=4),
    st.dictionaries(st.sampled_from(["owner", "service", "year", "class"]), WORD, max_size=2),
    st.dictionaries(st.sampled_from(["diameter", "depth_m", "ground_m"]), st.sampled_from(sorted(UNITS)), max_size=2),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LAYER, st.dictionaries(WORD, LAYER, max_size=3))
def test_mapping_comes_back_from_its_text(tmp_path: Path, default: LayerColumns, layers: dict) -> None:
    said = ColumnMapping(default, layers)
    assert read_mapping(mapping(tmp_path, mapping_text(said))) == said


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_a_mapping_or_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(content)
    try:
        read_mapping(path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_units_are_what_they_say() -> None:
    assert UNITS["us-ft"] - UNITS["ft"] == pytest.approx(6.096e-7, rel=1e-3)  # two parts in a million
    assert math.isclose(UNITS["in"] * 12, UNITS["ft"])


def test_guesses_show_meaning_unit_and_samples(layer: Path) -> None:
    [found] = guesses(layer, ColumnMapping())
    columns = {guess.column: guess for guess in found.columns}
    assert columns["Depth"].meaning == "depth_m"
    assert (columns["Depth"].unit, columns["Depth"].unit_from) == ("m", "assumed")
    assert columns["MAT"].samples == ["DI", "CI"]
    assert found.not_understood == ["CODE", "GJ", "remark"]
    assert (found.rows, found.rows_are) == (3, "LineString")
    assert found.system is None
    assert any("which network" in doubt for doubt in found.doubts)


def test_mapping_written_from_guesses_reads_the_file_the_same(data: Path, tmp_path: Path) -> None:
    path = data / "networks/gis/RutlandCity_points.geojson"
    found = guesses(path, ColumnMapping())
    said = read_mapping(mapping(tmp_path, as_mapping(found)))
    assert [(g.column, g.meaning) for g in guesses(path, said)[0].columns] == [
        (g.column, g.meaning) for g in found[0].columns
    ]
    guessed, told = (GisReader().read(path, ReadRequest("x", columns=columns)) for columns in (ColumnMapping(), said))
    assert told.nodes == guessed.nodes


def test_survey_read_with_its_own_guesses_is_the_same(tmp_path: Path) -> None:
    sample.make_survey(tmp_path)
    path = tmp_path / "survey.xlsx"
    said = read_mapping(mapping(tmp_path, as_mapping(guesses(path, ColumnMapping()))))
    one, other = (SurveyReader().read(path, ReadRequest("x", columns=columns)) for columns in (ColumnMapping(), said))
    assert (one.nodes, one.links) == (other.nodes, other.links)


def test_command_shows_columns_and_writes_a_mapping(layer: Path, tmp_path: Path) -> None:
    out = tmp_path / "made.toml"
    shown = CliRunner().invoke(app, ["columns", str(layer), "--json", "--write", str(out)])
    assert shown.exit_code == 0
    line = json.loads(shown.stdout.splitlines()[0])
    assert line["not_understood"] == ["CODE", "GJ", "remark"]
    assert tomllib.loads(out.read_text("utf-8"))["layers"]["lines"]["columns"]["material"] == "MAT"
    again = CliRunner().invoke(app, ["columns", str(layer), "--write", str(out)])
    assert isinstance(again.exception, InputError)
    text = CliRunner().invoke(app, ["columns", str(layer), "--mapping", str(out)])
    assert "not understood: CODE, GJ, remark" in text.stdout


def test_command_refuses_what_has_no_columns(data: Path) -> None:
    result = CliRunner().invoke(app, ["columns", str(data / "networks/water/Net1.inp")])
    assert isinstance(result.exception, InputError)
    assert "no columns" in str(result.exception)
