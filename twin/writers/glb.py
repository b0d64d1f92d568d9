"""A model's surfaces as GLB (glTF 2.0 binary): one primitive a colour, every vertex tagged with its element.

Element `i` of ``asset.extras.elements`` is ``[guid, class, name]``, and the vertex attribute ``_FEATURE_ID_0`` (of
EXT_mesh_features) is that index, so one click on a triangle names its element while the whole model is drawn in as
many calls as it has colours. Instances are written out: sharing them would need a node, and so a draw
call, each. Coordinates: metres, y up, -z north (glTF's frame); the model's
x y z becomes x z -y.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Colour: TypeAlias = tuple[float, float, float, float]
"""Red, green, blue, opacity, each 0 to 1, linear."""

FLOAT = 5126
UNSIGNED_SHORT = 5123
UNSIGNED_INT = 5125
ARRAY_BUFFER = 34962
ELEMENT_ARRAY_BUFFER = 34963
_KINDS = {1: "SCALAR", 3: "VEC3"}


@dataclass(frozen=True, slots=True)
class Surface:
    """Triangles of one colour on one element.

    `positions` and `normals` are (n, 3) in the model's frame, metres, z up; `triangles` is (m, 3) indices into them,
    counter-clockwise seen from outside; `element` is the index in the element table, one or one a vertex.
    """

    element: int | NDArray[np.intp]
    colour: Colour
    positions: NDArray[np.float64]
    normals: NDArray[np.float64]
    triangles: NDArray[np.int32]


@dataclass(slots=True)
class _Buffer:
    """The binary chunk under construction, with its views and accessors."""

    chunk: bytearray = field(default_factory=bytearray)
    views: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    accessors: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def add(self, array: NDArray[Any], component: int, target: int) -> int:
        """Append `array` (n, or n x 3) on a 4-byte boundary and return its accessor."""
        self.chunk += b"\0" * (-len(self.chunk) % 4)
        view = {"buffer": 0, "byteOffset": len(self.chunk), "byteLength": array.nbytes, "target": target}
        self.chunk += array.tobytes()
        accessor = {
            "bufferView": len(self.views),
            "componentType": component,
            "count": len(array),
            "type": _KINDS[1 if array.ndim == 1 else array.shape[1]],
        }
        if array.ndim > 1:
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self.views.append(view)
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def glb(surfaces: Sequence[Surface], elements: Sequence[tuple[str, str, str]]) -> bytes | None:
    """Return the GLB of `surfaces`, or None when they hold no triangle.

    `elements` is (guid, class, name) by the index that surfaces carry. Positions are stored in single precision, so
    callers keep the origin within a few kilometres of the geometry (0.5 mm at 4 km).
    """
    by_colour: defaultdict[Colour, list[Surface]] = defaultdict(list)
    for surface in surfaces:
        if len(surface.triangles):
            by_colour[surface.colour].append(surface)
    if not by_colour:
        return None
    buffer = _Buffer()
    # Opaque first: what shows through glass has to be in the frame before the glass is.
    ordered = sorted(by_colour, key=lambda colour: (colour[3] < 1, colour))
    primitives = [_primitive(buffer, by_colour[colour], number) for number, colour in enumerate(ordered)]
    document = {
        "asset": {"version": "2.0", "generator": "Chengmai", "extras": {"elements": [list(row) for row in elements]}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": primitives}],
        "materials": [_material(colour) for colour in ordered],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.chunk)}],
    }
    return packed(document, bytes(buffer.chunk))


def _primitive(buffer: _Buffer, surfaces: Sequence[Surface], material: int) -> dict[str, Any]:
    starts = np.cumsum([0] + [len(surface.positions) for surface in surfaces])
    positions = _y_up(np.concatenate([surface.positions for surface in surfaces]))
    normals = _unit(_y_up(np.concatenate([surface.normals for surface in surfaces])))
    owners = np.concatenate([np.broadcast_to(s.element, len(s.positions)) for s in surfaces]).astype(np.float32)
    corners = np.concatenate([s.triangles + start for s, start in zip(surfaces, starts, strict=False)]).ravel()
    # 65535 restarts a primitive, so it is no index (glTF 2.0, 3.7.2.1).
    short = len(positions) < 0xFFFF
    indices = corners.astype(np.uint16 if short else np.uint32)
    return {
        "attributes": {
            "POSITION": buffer.add(positions, FLOAT, ARRAY_BUFFER),
            "NORMAL": buffer.add(normals, FLOAT, ARRAY_BUFFER),
            "_FEATURE_ID_0": buffer.add(owners, FLOAT, ARRAY_BUFFER),
        },
        "indices": buffer.add(indices, UNSIGNED_SHORT if short else UNSIGNED_INT, ELEMENT_ARRAY_BUFFER),
        "material": material,
    }


def _y_up(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    turned = np.empty(vectors.shape, np.float32)
    turned[:, 0], turned[:, 1], turned[:, 2] = vectors[:, 0], vectors[:, 2], -vectors[:, 1]
    return turned


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale `vectors` (n, 3) to length one; those without a direction point up."""
    lengths = np.linalg.norm(vectors, axis=1)
    flat = ~(lengths > 1e-9)
    vectors[flat] = (0, 1, 0)
    lengths[flat] = 1
    return vectors / lengths[:, None]


def _material(colour: Colour) -> dict[str, Any]:
    material: dict[str, Any] = {
        "pbrMetallicRoughness": {"baseColorFactor": list(colour), "metallicFactor": 0.0, "roughnessFactor": 0.9},
        "doubleSided": True,  # exporters' surfaces are often open shells
    }
    if colour[3] < 1:
        material["alphaMode"] = "BLEND"
    return material


def packed(document: dict[str, Any], binary: bytes) -> bytes:
    """Return a GLB of its two chunks (glTF 2.0, 4.4), each padded to four bytes."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    return b"".join(
        (
            struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary)),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(binary), b"BIN\0"),
            binary,
        )
    )


def unpacked(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the two chunks of a GLB that `packed` wrote."""
    size = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def placed(data: bytes, placement: Mapping[str, Any]) -> bytes:
    """Return a GLB that says in ``asset.extras.placement`` where it stands."""
    document, binary = unpacked(data)
    document["asset"]["extras"] = document["asset"].get("extras", {}) | {"placement": dict(placement)}
    return packed(document, binary)


def triangles_by_element(data: bytes) -> dict[str, NDArray[np.float64]]:
    """Return the triangles (m, 3 corners, 3) of each element of a GLB of `glb`, by GlobalId, in the model's frame."""
    document, binary = unpacked(data)
    elements = document["asset"]["extras"]["elements"]
    dtypes = {FLOAT: "<f4", UNSIGNED_SHORT: "<u2", UNSIGNED_INT: "<u4"}

    def array(number: int) -> NDArray[Any]:
        accessor = document["accessors"][number]
        start = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
        width = {name: size for size, name in _KINDS.items()}[accessor["type"]]
        flat = np.frombuffer(binary, dtypes[accessor["componentType"]], accessor["count"] * width, start)
        return flat.reshape(-1, width) if width > 1 else flat

    found: defaultdict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for primitive in document["meshes"][0]["primitives"]:
        attributes = primitive["attributes"]
        corners = array(primitive["indices"]).reshape(-1, 3)
        positions = array(attributes["POSITION"]).astype(float)[corners][:, :, [0, 2, 1]] * [1, -1, 1]
        owners = array(attributes["_FEATURE_ID_0"])[corners[:, 0]].astype(int)
        order = np.argsort(owners, kind="stable")
        bounds = np.flatnonzero(np.diff(owners[order])) + 1
        for part in np.split(order, bounds):
            if len(part):
                found[elements[owners[part[0]]][0]].append(positions[part])
    return {guid: np.concatenate(parts) for guid, parts in found.items()}
