"""The GLB writer, read back by a parser of the test's own."""

import json
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twin.writers.glb import Surface, glb

RED, GLASS = (1.0, 0.0, 0.0, 1.0), (0.5, 0.5, 1.0, 0.4)


def square(element, colour=RED, at=0.0, up=1.0):
    positions = np.array([[at, 0, 0], [at + 1, 0, 0], [at + 1, 1, 0], [at, 1, 0]], float)
    normals = np.tile([0.0, 0.0, up], (4, 1))
    return Surface(element, colour, positions, normals, np.array([[0, 1, 2], [0, 2, 3]], np.int32))


def parsed(data):
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    document = json.loads(data[20 : 20 + size])
    _, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert kind == b"BIN\0"
    binary = data[28 + size :]
    dtypes, widths = {5126: "<f4", 5123: "<u2", 5125: "<u4"}, {"SCALAR": 1, "VEC3": 3}

    def array(number):
        accessor = document["accessors"][number]
        view = document["bufferViews"][accessor["bufferView"]]
        count = accessor["count"] * widths[accessor["type"]]
        flat = np.frombuffer(binary, dtypes[accessor["componentType"]], count, view["byteOffset"])
        return flat.reshape(accessor["count"], -1) if accessor["type"] == "VEC3" else flat

    return document, array


def test_one_primitive_a_colour_with_glass_last():
    document, _ = parsed(glb([square(0, GLASS), square(1), square(2)], [("g", "IfcWall", "墙")] * 3))
    primitives = document["meshes"][0]["primitives"]
    assert len(primitives) == 2
    assert "alphaMode" not in document["materials"][primitives[0]["material"]]
    assert document["materials"][primitives[1]["material"]]["alphaMode"] == "BLEND"
    assert document["asset"]["extras"]["elements"][0] == ["g", "IfcWall", "墙"]


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(-1000, 1000)), min_size=1, max_size=20))
def test_every_triangle_comes_back_with_its_element_and_place(made):
    surfaces = [square(element, at=at) for element, at in made]
    document, array = parsed(glb(surfaces, [("g", "c", "n")] * 51))
    (primitive,) = document["meshes"][0]["primitives"]
    attributes = primitive["attributes"]
    corners = array(primitive["indices"])
    positions, owners = array(attributes["POSITION"])[corners], array(attributes["_FEATURE_ID_0"])[corners]
    expected = np.concatenate([s.positions[s.triangles].reshape(-1, 3) for s in surfaces])
    assert np.allclose(positions[:, [0, 2, 1]] * [1, -1, 1], expected, atol=1e-3)
    assert owners.tolist() == [float(s.element) for s in surfaces for _ in range(6)]


def test_up_is_y_and_normals_have_length_one():
    document, array = parsed(glb([square(0, up=3.0), square(1, up=0.0)], [("g", "c", "n")] * 2))
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert np.allclose(array(attributes["NORMAL"]), [0, 1, 0])


def test_nothing_to_draw_is_no_file():
    assert glb([], []) is None


def test_more_vertices_than_short_indices_hold_use_long_ones():
    document, array = parsed(glb([square(n, at=float(n)) for n in range(17_000)], [("g", "c", "n")] * 17_000))
    primitive = document["meshes"][0]["primitives"][0]
    assert document["accessors"][primitive["indices"]]["componentType"] == 5125
    assert array(primitive["indices"]).max() == 67_999
