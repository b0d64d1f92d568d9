"""The IFC reader on small models made here, and on real files."""

import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import ifcopenshell
import ifcopenshell.guid
import pytest

from twin.city import City
from twin.errors import InputError
from twin.model import Decision, ReadRequest
from twin.readers.ifc.file import open_ifc
from twin.readers.ifc.reader import IfcReader
from twin.workers import Workers


def read(path: Path, **request):
    return IfcReader().read(path, ReadRequest(path.name, **request))


class Small:
    """A one-storey house of one slab and two pipes, in millimetres, written with ifcopenshell."""

    def __init__(self, schema="IFC4"):
        self.file = file = ifcopenshell.file(schema=schema)
        make = file.create_entity
        origin = make("IfcCartesianPoint", (0.0, 0.0, 0.0))
        self.axes = make("IfcAxis2Placement3D", origin)
        self.context = make("IfcGeometricRepresentationContext", None, "Model", 3, 1e-5, self.axes)
        units = make("IfcUnitAssignment", [make("IfcSIUnit", UnitType="LENGTHUNIT", Prefix="MILLI", Name="METRE")])
        self.project = self.add("IfcProject", "项目", RepresentationContexts=[self.context], UnitsInContext=units)
        self.site, self.building = self.add("IfcSite", "Site"), self.add("IfcBuilding", "河湾新村7幢")
        self.storey = self.add("IfcBuildingStorey", "1F", Elevation=0.0)
        for parent, child in ((self.project, self.site), (self.site, self.building), (self.building, self.storey)):
            self.add("IfcRelAggregates", None, RelatingObject=parent, RelatedObjects=[child])
        self.slab = self.add("IfcSlab", "Slab", Representation=self.box(10_000.0, 6_000.0, 3_000.0))
        self.pipes = [self.add("IfcFlowSegment" if schema == "IFC2X3" else "IfcPipeSegment", n) for n in "AB"]
        self.add(
            "IfcRelContainedInSpatialStructure",
            None,
            RelatingStructure=self.storey,
            RelatedElements=[self.slab, *self.pipes],
        )

    def add(self, kind, name, **attributes):
        entity = self.file.create_entity(kind, GlobalId=ifcopenshell.guid.new(), Name=name, **attributes)
        if entity.is_a("IfcProduct"):
            entity.ObjectPlacement = self.file.create_entity("IfcLocalPlacement", None, self.axes)
        return entity

    def box(self, x, y, z):
        make = self.file.create_entity
        flat = make("IfcAxis2Placement2D", make("IfcCartesianPoint", (x / 2, y / 2)))
        profile = make("IfcRectangleProfileDef", "AREA", None, flat, x, y)
        solid = make("IfcExtrudedAreaSolid", profile, self.axes, make("IfcDirection", (0.0, 0.0, 1.0)), z)
        body = make("IfcShapeRepresentation", self.context, "Body", "SweptSolid", [solid])
        return make("IfcProductDefinitionShape", None, None, [body])

    def ports(self):
        ports = [self.add("IfcDistributionPort", n) for n in "ab"]
        self.add("IfcRelConnectsPorts", None, RelatingPort=ports[0], RelatedPort=ports[1])
        return ports

    def save(self, folder, name="small.ifc"):
        path = folder / name
        self.file.write(str(path))
        return path


def test_the_tree_footprint_and_height_come_from_the_model(tmp_path):
    small = Small()
    model = read(small.save(tmp_path))
    (building,), (storey,) = model.buildings, model.storeys
    assert (building.name, building.storeys, building.ground_m, building.height_m) == ("河湾新村7幢", 1, 0.0, 3.0)
    assert building.footprint.area == pytest.approx(60.0, abs=0.01)
    assert storey.building == building.id == f"small.ifc:building:{small.building.GlobalId}"
    slab = next(element for element in model.elements if element.ifc_class == "IfcSlab")
    assert (slab.building, slab.storey, slab.position.z) == (building.id, storey.id, 0.0)
    assert model.placement.decision is Decision.UNPLACED


def test_every_product_is_counted_once_with_its_reason(tmp_path):
    small = Small()
    opening = small.add("IfcOpeningElement", "o", Representation=small.box(100.0, 100.0, 5000.0))
    small.add("IfcRelVoidsElement", None, RelatingBuildingElement=small.slab, RelatedOpeningElement=opening)
    flat = small.add("IfcWall", "flat", Representation=small.box(1000.0, 0.0, 1000.0))
    account = read(small.save(tmp_path)).account
    assert account["products"] == 8
    assert account["excluded"] == {"no representation": 5, "opening": 1}
    assert account["meshed"] == 1
    assert account["empty"] + account["failed"] == 1
    issues = read(small.save(tmp_path)).issues
    assert [issue.guid for issue in issues] == [flat.GlobalId]


def test_properties_of_the_type_come_in_and_the_elements_own_win(tmp_path):
    small = Small()

    def pset(**values):
        made = [
            small.file.create_entity("IfcPropertySingleValue", k, None, small.file.create_entity("IfcLabel", v))
            for k, v in values.items()
        ]
        return small.add("IfcPropertySet", "Pset_X", HasProperties=made)

    kind = small.add("IfcSlabType", "板A", HasPropertySets=[pset(A="type", B="type")], PredefinedType="FLOOR")
    small.add("IfcRelDefinesByType", None, RelatedObjects=[small.slab], RelatingType=kind)
    small.add(
        "IfcRelDefinesByProperties",
        None,
        RelatedObjects=[small.slab],
        RelatingPropertyDefinition=pset(B="own", C="own"),
    )
    slab = next(e for e in read(small.save(tmp_path)).elements if e.ifc_class == "IfcSlab")
    assert slab.properties == {"Pset_X.A": "type", "Pset_X.B": "own", "Pset_X.C": "own"}
    assert (slab.type_name, slab.predefined_type) == ("板A", "FLOOR")


@pytest.mark.parametrize(("schema", "nested"), [("IFC4", True), ("IFC4", False), ("IFC2X3", False)])
def test_ports_of_both_generations_join_their_elements(tmp_path, schema, nested):
    small = Small(schema)
    for port, pipe in zip(small.ports(), small.pipes, strict=True):
        if nested:
            small.add("IfcRelNests", None, RelatingObject=pipe, RelatedObjects=[port])
        else:
            small.add("IfcRelConnectsPortToElement", None, RelatingPort=port, RelatedElement=pipe)
    model = read(small.save(tmp_path))
    a, b = (element for element in model.elements if element.name in "AB")
    assert (tuple(a.connects), tuple(b.connects)) == ((b.id,), (a.id,))
    assert (model.account["ports"], model.account["port_connections"]) == (2, 1)


def test_a_map_conversion_places_elements_in_the_city(tmp_path):
    small = Small()
    make = small.file.create_entity
    crs = make("IfcProjectedCRS", Name="EPSG:4549")
    make("IfcMapConversion", small.context, crs, 540_000.0, 3_350_000.0, 6.0, 0.0, 1.0, 0.001)
    model = read(small.save(tmp_path), city_crs="EPSG:4549")
    assert model.placement.decision is Decision.PLACED
    assert model.buildings[0].footprint.bounds == pytest.approx((539_994, 3_350_000, 540_000, 3_350_010), abs=0.01)
    assert model.storeys[0].elevation_m == pytest.approx(6.0)
    assert model.buildings[0].height_m == pytest.approx(3.0)


def test_geometry_far_from_zero_gets_a_mesh_origin_of_its_own(tmp_path):
    small = Small()
    small.slab.ObjectPlacement.RelativePlacement = small.file.create_entity(
        "IfcAxis2Placement3D", small.file.create_entity("IfcCartesianPoint", (540_000_000.0, 3_350_000_000.0, 0.0))
    )
    model = read(small.save(tmp_path))
    assert model.placement.origin == pytest.approx((540_005, 3_350_003, 2), abs=1)
    assert model.buildings[0].footprint.bounds[0] == pytest.approx(540_000, abs=0.01)


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_raw_chinese_text_is_read_and_said_so(tmp_path, encoding):
    path = Small().save(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"'Site'", "'张江\U00020000'".encode(encoding)))
    model = read(path)
    assert [issue.code for issue in model.issues] == ["W_ENCODING"]
    assert open_ifc(path).file.by_type("IfcSite")[0].Name == "张江\U00020000"


def test_a_byte_order_mark_is_no_obstacle(tmp_path):
    path = Small().save(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read(path).buildings) == 1


@pytest.mark.parametrize(
    "schema", ["IFC4X1", "IFC4X2", *(f"IFC4X3_RC{n}" for n in range(1, 5)), "IFC4X3_TC1", "IFC4X4_DEV_0f3b1c2"]
)
def test_release_candidates_are_read_under_a_recorded_alias(tmp_path, schema):
    path = Small("IFC4X3_ADD2").save(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"IFC4X3_ADD2", schema.encode()))
    model = read(path)
    assert (model.account["schema"], model.account["schema_alias"]) == (schema.upper(), "IFC4X3_ADD2")
    assert "W_SCHEMA_ALIAS" in [issue.code for issue in model.issues]


def test_what_the_library_drops_because_its_schema_lacks_the_class_is_told(tmp_path):
    path = Small("IFC4X3_ADD2").save(tmp_path)
    lost = b"#9001=IFCALIGNMENT2DHORIZONTAL($,());\n#9002=IFCALIGNMENT2DHORIZONTAL($,());\nENDSEC;\nEND-ISO"
    path.write_bytes(path.read_bytes().replace(b"IFC4X3_ADD2", b"IFC4X1").replace(b"ENDSEC;\nEND-ISO", lost))
    (remark,) = [issue.message for issue in read(path).issues if issue.code == "W_PARSE"]
    assert remark == "2 IFCALIGNMENT2DHORIZONTAL left out: the schema has no such class"


def test_a_model_under_a_chinese_name_is_read(tmp_path):
    assert read(Small().save(tmp_path, "河湾新村7幢.ifc")).buildings[0].name == "河湾新村7幢"


def test_a_product_with_one_of_its_bodies_only_is_told(tmp_path):
    small = Small()
    flat = small.box(1000.0, 0.0, 1000.0).Representations[0]
    small.slab.Representation.Representations = [*small.slab.Representation.Representations, flat]
    model = read(small.save(tmp_path))
    assert model.account["meshed"] == 1
    assert [(issue.code, issue.guid) for issue in model.issues] == [("W_GEOMETRY", small.slab.GlobalId)]


def test_virtual_elements_and_grids_are_reasons_of_their_own(tmp_path):
    small = Small()
    for kind in ("IfcVirtualElement", "IfcAnnotation"):
        small.add(kind, "x", Representation=small.box(1000.0, 1000.0, 1000.0))
    account = read(small.save(tmp_path)).account
    assert account["excluded"] == {"annotation": 1, "no representation": 5, "virtual element": 1}
    assert account["products"] == account["meshed"] + sum(account["excluded"].values())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda _: b"", "E_EMPTY"),
        (lambda body: body[: len(body) // 2], "E_TRUNCATED"),
        (lambda _: b"{}", "E_FORMAT"),
        (lambda body: body.replace(b"'IFC4'", b"'IFC20_LONGFORM'"), "E_SCHEMA"),
        (lambda body: body.replace(b"FILE_SCHEMA", b"FILE_NOTHING"), "E_FORMAT"),
        (lambda body: body.replace(b"'Site'", b"'\xff\xff'"), "E_ENCODING"),
        (lambda body: body.replace(b"IFCPROJECT(", b"IFCBUILDING("), "E_FORMAT"),
        (lambda body: body.replace(b"IFCCARTESIANPOINT((0.,0.,0.))", b"IFCCARTESIANPOINT((NaN,0.,0.))"), "E_FORMAT"),
        (lambda body: body.replace(b"IFCCARTESIANPOINT((0.,0.,0.))", b"IFCCARTESIANPOINT((1.E400,0.,0.))"), "E_FORMAT"),
    ],
)
def test_a_broken_file_is_refused_with_one_line(tmp_path, change, code):
    path = Small().save(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError) as refused:
        read(path)
    assert refused.value.code == code
    assert "small.ifc" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_placement_in_a_circle_is_refused_before_the_kernel_dies_of_it(tmp_path, ahead):
    small = Small()
    slab, *pipes = (product.ObjectPlacement for product in (small.slab, *small.pipes))
    chain = [slab, *pipes[:ahead]]
    for placement, parent in zip(chain, [*chain[1:], slab], strict=True):
        placement.PlacementRelTo = parent
    with pytest.raises(InputError, match=r"E_FORMAT .*small\.ifc #\d+: a placement stands relative to itself"):
        read(small.save(tmp_path))


def test_a_placement_without_axes_is_refused(tmp_path):
    small = Small()
    small.slab.ObjectPlacement.RelativePlacement = None
    with pytest.raises(InputError, match=r"E_FORMAT .*no axes"):
        read(small.save(tmp_path))


def test_text_in_place_of_a_number_of_a_map_conversion_is_refused(tmp_path):
    small = Small()
    make = small.file.create_entity
    make("IfcMapConversion", small.context, make("IfcProjectedCRS", Name="EPSG:4549"), 540_000.0, 3_350_000.0, 6.0)
    path = small.save(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"540000.", b"'east'"))
    with pytest.raises(InputError, match=r"E_FORMAT IfcMapConversion #.*Eastings is 'east'"):
        read(path)


@pytest.mark.parametrize(
    ("attribute", "before", "wrong"),
    [
        ("RelatedElements of IfcRelCont", rb"(IFCRELCONTAINEDINSPATIALSTRUCTURE\([^(]*)\([^)]*\)", rb"\1(1.)"),
        ("RelatingObject of IfcRelAggregates", rb"(IFCRELAGGREGATES\('[^']*',\$,\$,\$,)#\d+", rb"\1'x'"),
        ("PlacementRelTo of IfcLocalPlacement", rb"(IFCLOCALPLACEMENT\()\$", rb"\1-1."),
        ("TrueNorth of IfcGeometric", rb"(IFCGEOMETRICREPRESENTATIONCONTEXT\(.*),\$\)", rb"\1,.T.)"),
    ],
)
def test_a_value_that_is_not_of_the_schemas_type_is_named(tmp_path, attribute, before, wrong):
    path = Small().save(tmp_path)
    body, changed = re.subn(before, wrong, path.read_bytes())
    assert changed
    path.write_bytes(body)
    with pytest.raises(InputError, match=rf"E_INVALID .*: breaks its schema, .*: {attribute}"):
        read(path)


@pytest.mark.slow
def test_a_file_that_fails_in_the_kernel_takes_its_worker_with_it_and_not_the_next_file(tmp_path):
    """After a number for a GlobalId the kernel refuses the next file too, and dies of the third."""
    broken, whole = Small().save(tmp_path, "broken.ifc"), Small().save(tmp_path)
    body, changed = re.subn(rb"IFCSLAB\('[^']*'", rb"IFCSLAB(1.", broken.read_bytes())
    assert changed
    broken.write_bytes(body)
    with Workers(1, 100) as pool:
        outcomes = [pool.read(path, ReadRequest(path.name)) for path in (broken, whole, whole)]
    assert [outcome.error and outcome.error.code for outcome in outcomes] == ["E_INVALID", None, None]


def test_a_map_conversion_without_its_easting_is_not_at_zero(tmp_path):
    small = Small()
    make = small.file.create_entity
    make("IfcMapConversion", small.context, make("IfcProjectedCRS", Name="EPSG:4549"), None, 3_350_000.0, 6.0)
    placement = read(small.save(tmp_path)).placement
    assert (placement.decision, placement.proposal) == (Decision.QUARANTINED, None)
    assert placement.contradictions[0] == "Eastings is not stated"


def test_products_without_a_global_id_go_by_their_number_and_are_told(tmp_path):
    small = Small()
    for pipe in small.pipes:
        pipe.GlobalId = None
    model = read(small.save(tmp_path))
    numbers = [f"small.ifc:element:#{pipe.id()}" for pipe in small.pipes]
    assert [element.id for element in model.elements if element.ifc_class == "IfcPipeSegment"] == numbers
    assert [issue.code for issue in model.issues] == ["W_PARSE", "W_GUID"]  # the library's word, and ours
    with City.create(tmp_path / "c.gpkg", None) as city:
        city.replace(model, datetime(2026, 1, 2, tzinfo=UTC))
        assert [issue.code for issue in city.sources()[0].issues] == ["W_PARSE", "W_GUID"]


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="E_MISSING"):
        read(tmp_path / "none.ifc")


def test_a_file_is_recognised_by_name_or_first_bytes(tmp_path):
    path = Small().save(tmp_path)
    other = path.rename(tmp_path / "model.dat")
    assert IfcReader().recognises(other)
    assert IfcReader().recognises(Path("x.IFC"))
    assert not IfcReader().recognises(tmp_path / "none.inp")


def test_a_model_crosses_process_boundaries(tmp_path):
    model = read(Small().save(tmp_path))
    assert pickle.loads(pickle.dumps(model)) == model


def test_nothing_of_the_kernels_own_prints_reaches_standard_output(data):
    code = (
        "import sys; from pathlib import Path; from twin.readers.ifc.reader import IfcReader; from twin.model import "
        "ReadRequest; IfcReader().read(Path(sys.argv[1]), ReadRequest('x'))"
    )
    path = data / "ifc" / "mep_domestic_hot_water_4.ifc"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True, timeout=120)
    assert done.stdout == b""


@pytest.mark.data
@pytest.mark.parametrize(("name", "code"), [("bad_header", "E_FORMAT"), ("bad_schema_ifc20_longform", "E_SCHEMA")])
def test_real_broken_files_are_refused(data, name, code):
    with pytest.raises(InputError, match=code):
        read(data / "ifc" / f"{name}.ifc")
