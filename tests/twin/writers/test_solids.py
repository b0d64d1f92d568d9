"""Raised footprints and tubes: closed, turned outwards, and of the right size."""

from collections import Counter

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from twin.writers.solids import SIDES, extruded, tubes


def volume(triangles):
    """Return the volume that triangles enclose (divergence theorem); negative where they face inwards."""
    a, b, c = (triangles.positions[triangles.corners[:, at]] for at in range(3))
    return np.einsum("ij,ij->i", a - a[0], np.cross(b - a[0], c - a[0])).sum() / 6


def face_normals(triangles):
    a, b, c = (triangles.positions[triangles.corners[:, at]] for at in range(3))
    return np.cross(b - a, c - a)


@st.composite
def footprints(draw):
    """Draw star-shaped polygons around a point of the city, some with a courtyard, some as two parts."""
    shapes = []
    for _ in range(draw(st.integers(1, 4))):
        x, y = draw(st.integers(0, 900)), draw(st.integers(0, 900))
        radii = draw(st.lists(st.floats(5, 20), min_size=3, max_size=9))
        angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
        shell = np.column_stack([540_000 + x + radii * np.cos(angles), 3_350_000 + y + radii * np.sin(angles)])
        hole = shapely.Point(540_000 + x, 3_350_000 + y).buffer(0.5, quad_segs=2).exterior
        polygon = shapely.Polygon(shell, [hole] if draw(st.booleans()) else [])
        away = shapely.affinity.translate(polygon, 50, 0)
        shapes.append(shapely.MultiPolygon([polygon, away]) if draw(st.booleans()) else polygon)
    return np.array(shapes, dtype=object)


@given(footprints(), st.floats(1, 90))
def test_a_raised_footprint_encloses_its_area_times_its_height(shapes, height):
    bottom = np.linspace(-5, 8, len(shapes))
    solid = extruded(shapes, bottom, bottom + height)
    assert volume(solid) == pytest.approx(shapely.area(shapes).sum() * height, rel=1e-6)
    assert (np.einsum("ij,ij->i", face_normals(solid), solid.normals[solid.corners[:, 0]]) > 0).all()
    assert np.allclose(np.linalg.norm(solid.normals, axis=1), 1)
    for number, shape in enumerate(shapes):
        own = solid.positions[solid.owners == number]
        assert np.allclose(own[:, :2].min(axis=0), shapely.bounds(shape)[:2])
        assert set(own[:, 2].round(9)) == {round(bottom[number], 9), round(bottom[number] + height, 9)}


@given(st.lists(st.tuples(st.floats(1, 50), st.floats(-50, 50), st.floats(-5, 5)), min_size=1), st.floats(0.05, 1))
def test_a_tube_lies_around_its_line_and_is_open_only_at_its_ends(steps, radius):
    points = np.cumsum([(0.0, 0.0, 0.0), *steps], axis=0)
    tube = tubes(np.array([shapely.LineString(points)], dtype=object), np.array([radius]))
    rings = tube.positions.reshape(-1, SIDES, 3)
    assert np.allclose(rings.mean(axis=1), points, atol=1e-9)
    assert np.allclose(np.linalg.norm(rings - points[:, None], axis=2), radius)
    edges = Counter()
    for triangle in tube.corners.tolist():
        for a, b in zip(triangle, triangle[1:] + triangle[:1], strict=True):
            edges[a, b] += 1
    assert set(edges.values()) == {1}
    lonely = [edge for edge in edges if edge[::-1] not in edges]
    assert len(lonely) == 2 * SIDES  # a ring at each end


def test_a_straight_tube_faces_outwards_level_or_upright():
    lines = [shapely.LineString([(0, 0, 0), (9, 0, 0)]), shapely.LineString([(0, 0, 0), (0, 0, 9)])]
    tube = tubes(np.array(lines, dtype=object), np.array([0.2, 0.5]))
    assert (np.einsum("ij,ij->i", face_normals(tube), tube.normals[tube.corners[:, 0]]) > 0).all()
