"""GLB of real models: what Khronos' validator says, where they stand, and their triangles by element."""

import numpy as np
import pytest

from twin.writers.glb import placed, triangles_by_element, unpacked


@pytest.mark.slow
def test_the_models_of_the_district_pass_khronos_validator(models, gltf_issues, tmp_path):
    files = []
    for number, model in enumerate(model for model in models if model.mesh is not None):
        files += [tmp_path / f"{number}.glb", tmp_path / f"{number}-placed.glb"]
        files[-2].write_bytes(model.mesh)
        files[-1].write_bytes(placed(model.mesh, {"origin": model.placement.origin}))
    assert len(files) == 6
    for path, issues in zip(files, gltf_issues(files), strict=True):
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), (path.name, issues["messages"])


def test_a_placed_model_keeps_its_geometry_and_elements(named):
    mesh = named["clinic.ifc"].mesh
    document, binary = unpacked(placed(mesh, {"crs": "EPSG:4549"}))
    before, same = unpacked(mesh)
    assert binary == same
    assert document["asset"]["extras"].pop("placement") == {"crs": "EPSG:4549"}
    assert document == before


def test_every_triangle_is_of_an_element_of_the_model(named):
    model = named["clinic.ifc"]
    document, _ = unpacked(model.mesh)
    found = triangles_by_element(model.mesh)
    assert set(found) <= {row[0] for row in document["asset"]["extras"]["elements"]}
    primitives = document["meshes"][0]["primitives"]
    corners = sum(document["accessors"][primitive["indices"]]["count"] for primitive in primitives)
    assert sum(part.size for part in found.values()) == corners * 3
    heights = np.concatenate([part[..., 2].ravel() for part in found.values()])
    assert np.ptp(heights) > 10  # five storeys, z up
