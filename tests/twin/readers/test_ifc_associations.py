"""Materials, classifications, systems and units of IFC elements, on models made here."""

import pytest

from tests.twin.readers.test_ifc import Small, read


def slab_of(small, folder):
    return next(element for element in read(small.save(folder)).elements if element.ifc_class == "IfcSlab")


def material_set(small, kind):
    make = small.file.create_entity
    steel, concrete = make("IfcMaterial", "钢"), make("IfcMaterial", "混凝土")
    profile = make("IfcCircleProfileDef", "AREA", None, None, 50.0)
    layers = [make("IfcMaterialLayer", each, 10.0) for each in (steel, concrete)]
    sets = {
        "material": lambda: steel,
        "list": lambda: make("IfcMaterialList", [steel, concrete]),
        "layers": lambda: make("IfcMaterialLayerSet", layers),
        "layer usage": lambda: make(
            "IfcMaterialLayerSetUsage", make("IfcMaterialLayerSet", layers), "AXIS2", "POSITIVE", 0.0
        ),
        "constituents": lambda: make(
            "IfcMaterialConstituentSet",
            MaterialConstituents=[make("IfcMaterialConstituent", Material=each) for each in (steel, concrete)],
        ),
        "profile usage": lambda: make(
            "IfcMaterialProfileSetUsage",
            make(
                "IfcMaterialProfileSet", MaterialProfiles=[make("IfcMaterialProfile", Material=steel, Profile=profile)]
            ),
        ),
    }
    return sets[kind]()


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("material", ("钢",)),
        ("list", ("钢", "混凝土")),
        ("layers", ("钢", "混凝土")),
        ("layer usage", ("钢", "混凝土")),
        ("constituents", ("钢", "混凝土")),
        ("profile usage", ("钢",)),
    ],
)
def test_materials_come_by_name_from_every_kind_of_set(tmp_path, kind, names):
    small = Small()
    small.add("IfcRelAssociatesMaterial", None, RelatedObjects=[small.slab], RelatingMaterial=material_set(small, kind))
    assert tuple(slab_of(small, tmp_path).materials) == names


def typed(small):
    kind = small.add("IfcSlabType", "板A", PredefinedType="FLOOR")
    small.add("IfcRelDefinesByType", None, RelatedObjects=[small.slab], RelatingType=kind)
    return kind


def test_an_element_without_materials_has_its_types(tmp_path):
    small = Small()
    for related, name in ((typed(small), "类型的"), (small.slab, "自己的")):
        material = small.file.create_entity("IfcMaterial", name)
        small.add("IfcRelAssociatesMaterial", None, RelatedObjects=[related], RelatingMaterial=material)
        expected = name
        assert tuple(slab_of(small, tmp_path).materials) == (expected,)


def test_classifications_are_named_by_system_code_and_name_own_before_the_types(tmp_path):
    small = Small()
    make = small.file.create_entity
    system = make("IfcClassification", Name="GB/T 51269")
    group = make("IfcClassificationReference", None, "30", "管道", system)
    own = make("IfcClassificationReference", None, "30-05", "燃气管", group)
    bare = make("IfcClassificationReference", None, "X1", None, None)
    for related, reference in ((small.slab, own), (typed(small), bare)):
        small.add("IfcRelAssociatesClassification", None, RelatedObjects=[related], RelatingClassification=reference)
    assert tuple(slab_of(small, tmp_path).classifications) == ("GB/T 51269:30-05 燃气管", "X1")


def test_an_element_of_several_systems_names_them_all_and_no_zone(tmp_path):
    small = Small()
    for kind, name in (("IfcDistributionSystem", "燃气"), ("IfcZone", "一区"), ("IfcSystem", "立管")):
        group = small.add(kind, name)
        small.add("IfcRelAssignsToGroup", None, RelatedObjects=[small.slab], RelatingGroup=group)
    assert slab_of(small, tmp_path).system == "燃气; 立管"


def test_units_are_the_propertys_own_else_the_projects_for_its_measure(tmp_path):
    small = Small()
    make = small.file.create_entity
    bar = make("IfcConversionBasedUnit", make("IfcDimensionalExponents", -1, 1, -2, 0, 0, 0, 0), "PRESSUREUNIT", "bar")
    bar.ConversionFactor = make(
        "IfcMeasureWithUnit", make("IfcPressureMeasure", 1e5), make("IfcSIUnit", UnitType="PRESSUREUNIT", Name="PASCAL")
    )
    kilogram = make("IfcSIUnit", UnitType="MASSUNIT", Prefix="KILO", Name="GRAM")
    metre = make("IfcSIUnit", UnitType="LENGTHUNIT", Name="METRE")
    elements = [make("IfcDerivedUnitElement", kilogram, 1), make("IfcDerivedUnitElement", metre, -3)]
    density = make("IfcDerivedUnit", elements, "MASSDENSITYUNIT")
    assignment = small.file.by_type("IfcUnitAssignment")[0]
    assignment.Units = [*assignment.Units, density]

    def value(name, measure, number, unit=None):
        return make("IfcPropertySingleValue", name, None, make(measure, number), unit)

    properties = small.add(
        "IfcPropertySet",
        "P",
        HasProperties=[
            value("Length", "IfcPositiveLengthMeasure", 5.0),
            value("Pressure", "IfcPressureMeasure", 4.0, bar),
            value("Density", "IfcMassDensityMeasure", 2400.0),
            value("Ratio", "IfcRatioMeasure", 0.5),
            value("Label", "IfcLabel", "x"),
        ],
    )
    quantities = small.add(
        "IfcElementQuantity",
        "Q",
        Quantities=[
            make("IfcQuantityLength", "Own", None, metre, 5.0),
            make("IfcQuantityLength", "Depth", None, None, 300.0),
        ],
    )
    for each in (properties, quantities):
        small.add("IfcRelDefinesByProperties", None, RelatedObjects=[small.slab], RelatingPropertyDefinition=each)
    slab = slab_of(small, tmp_path)
    assert slab.units == {
        "P.Length": "mm",
        "P.Pressure": "bar",
        "P.Density": "kg.m-3",
        "Q.Own": "m",
        "Q.Depth": "mm",
    }
    assert slab.properties["P.Ratio"] == 0.5
