"""Checks of an IFC file: schema and IDS, in a process of their own, kept with the model."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import ifcopenshell.guid
import msgspec
import pytest
from typer.testing import CliRunner

from dashboards.cli import app
from sample_models import __file__ as sample_models
from tests.twin.readers.test_ifc import Small, read
from twin.check import check
from twin.check_ids import check_ids
from twin.check_schema import check_schema
from twin.city import City
from twin.errors import InputError
from twin.workers import isolated

RENEWAL = Path(sample_models).with_name("renewal.ids")

IDS = """<?xml version="1.0"?>
<ids xmlns="http://standards.buildingsmart.org/IDS" xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <info><title>t</title></info>
  <specifications>
    <specification name="slabs are named" ifcVersion="{version}">
      <applicability minOccurs="{least}" maxOccurs="unbounded">
        <entity><name><simpleValue>{entity}</simpleValue></name></entity>
      </applicability>
      <requirements>
        <attribute cardinality="required">
          <name><simpleValue>Name</simpleValue></name>
          <value><simpleValue>{name}</simpleValue></value>
        </attribute>
      </requirements>
    </specification>
  </specifications>
</ids>"""


def ids(folder, version="IFC4", least=1, entity="IFCSLAB", name="Slab"):
    path = folder / "t.ids"
    path.write_text(IDS.format(version=version, least=least, entity=entity, name=name))
    return path


def test_a_fulfilled_specification_counts_what_it_applies_to(tmp_path):
    found = check_ids(Small().save(tmp_path), ids_path=ids(tmp_path, entity="IFCSLAB"))
    (specification,) = found.specifications
    assert (found.passed, specification.passed) == (True, True)
    assert (specification.applicable, specification.fulfilled, specification.failed) == (1, 1, 0)


def test_a_failed_requirement_names_the_object_and_the_reason(tmp_path):
    small = Small()
    found = check_ids(small.save(tmp_path), ids_path=ids(tmp_path, entity="IFCPIPESEGMENT", name="A"))
    (specification,) = found.specifications
    assert (found.passed, specification.applicable, specification.fulfilled, specification.failed) == (False, 2, 1, 1)
    (failure,) = specification.failures
    assert (failure.guid, failure.ifc_class) == (small.pipes[1].GlobalId, "IfcPipeSegment")
    assert "B" in failure.reason


def test_a_specification_for_objects_that_the_file_lacks_fails(tmp_path):
    path = Small().save(tmp_path)
    assert not check_ids(path, ids_path=ids(tmp_path, entity="IFCWALL")).passed
    assert check_ids(path, ids_path=ids(tmp_path, entity="IFCWALL", least=0)).passed


def test_a_specification_for_another_version_of_ifc_is_not_asked(tmp_path):
    found = check_ids(Small().save(tmp_path), ids_path=ids(tmp_path, version="IFC2X3", name="other"))
    assert (found.passed, found.specifications[0].applies) == (True, False)


@pytest.mark.parametrize(
    "content", ["hello", "<ids>", '<?xml version="1.0"?><ids xmlns="http://standards.buildingsmart.org/IDS"/>']
)
def test_a_broken_ids_is_one_clear_line(tmp_path, content):
    path = tmp_path / "broken.ids"
    path.write_text(content)
    with pytest.raises(InputError, match="E_IDS") as refused:
        check(Small().save(tmp_path), ids=path)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_without_ifctester_an_ids_is_refused_with_what_to_install_and_the_schema_is_checked(tmp_path):
    """In an interpreter that cannot import it, as after `pip install chengmai` without the extra."""
    code = (
        "import sys; sys.modules['ifctester'] = None; from dashboards.cli import main; sys.argv[0] = 'chengmai'; main()"
    )
    path = Small().save(tmp_path)
    run = partial(subprocess.run, capture_output=True, text=True, check=False, timeout=200)
    refused = run([sys.executable, "-c", code, "check", str(path), "--ids", str(ids(tmp_path))])
    assert (refused.returncode, refused.stdout) == (1, "")
    (line,) = refused.stderr.splitlines()
    assert "ifctester" in line
    assert "pip install 'chengmai[ids]'" in line
    kept = run([sys.executable, "-c", code, "check", str(path)])
    assert (kept.returncode, kept.stderr) == (0, "")


def test_a_missing_ids_is_said_before_the_model_is_read(tmp_path):
    with pytest.raises(InputError, match="E_MISSING"):
        check(tmp_path / "none.ifc", ids=tmp_path / "none.ids")


def test_a_file_that_keeps_to_its_schema_is_valid_and_one_that_does_not_names_the_attribute(tmp_path):
    small = Small()
    assert check_schema(small.save(tmp_path)).valid
    small.slab.GlobalId = "not a guid"
    small.file.create_entity("IfcPropertySet", ifcopenshell.guid.new(), Name="empty")
    found = check_schema(small.save(tmp_path))
    assert (found.valid, found.errors) == (False, len(found.shown))
    assert "IfcPropertySet.HasProperties" in found.by_attribute
    error = next(error for error in found.shown if error.attribute == "IfcPropertySet.HasProperties")
    assert (error.entity, error.code, error.step > 0) == ("IfcPropertySet", "schema", True)


def test_a_file_that_cannot_be_opened_is_refused_with_the_readers_code(tmp_path):
    path = tmp_path / "m.ifc"
    path.write_text("hello")
    with pytest.raises(InputError, match="E_FORMAT"):
        check(path)


def sleeping(path):
    time.sleep(60)
    return path


def dying(path):
    os._exit(3)


def test_a_check_past_its_time_is_killed(tmp_path):
    begun = time.monotonic()
    with pytest.raises(InputError, match="E_TIMEOUT"):
        isolated(sleeping, tmp_path, 0.5)
    assert time.monotonic() - begun < 30


def test_a_check_whose_process_dies_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"E_CRASH.*exit 3"):
        isolated(dying, tmp_path, 60)


@pytest.mark.slow
def test_the_sample_ids_is_fulfilled_by_the_renewed_block_and_not_by_the_old_one(district):
    verdicts = {
        name: [each.passed for each in check_ids(district / f"{name}.ifc", ids_path=RENEWAL).specifications]
        for name in ("block-07", "block-07-renewed")
    }
    assert verdicts == {"block-07": [True, True, False, False], "block-07-renewed": [True, True, True, True]}


@pytest.mark.slow
def test_the_command_prints_one_object_keeps_it_with_the_model_and_fails(tmp_path):
    path = Small().save(tmp_path)
    with City.create(tmp_path / "c.gpkg", None) as city:
        city.replace(read(path), datetime(2026, 1, 2, tzinfo=UTC))
    command = [
        "check",
        str(path),
        "--ids",
        str(ids(tmp_path, name="other")),
        "--city",
        str(tmp_path / "c.gpkg"),
        "--json",
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    said = msgspec.json.decode(done.stdout)
    assert (said["schema"]["valid"], said["ids"]["passed"]) == (True, False)
    with City.open(tmp_path / "c.gpkg") as city:
        (row,) = city.sources()
    assert row.checks["ids"]["specifications"][0]["failed"] == 1
    assert row.checks["schema"]["errors"] == 0
