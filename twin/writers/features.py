"""What the elements of a GLB are, where any viewer of 3D Tiles finds it: a property table beside the geometry.

Extensions: EXT_mesh_features (which element a vertex is of) and EXT_structural_metadata (a table of text by element),
as 3D Tiles 1.1 (OGC 22-025r4, 3D Metadata) uses them. Viewers that know neither draw the model all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twin.writers.glb import packed, unpacked

_ALIGNED = 8
"""Property tables stand on eight bytes (EXT_structural_metadata, Binary Table Format)."""


def described(data: bytes, columns: Mapping[str, Sequence[str]], extras: Mapping[str, Any]) -> bytes:
    """Return the GLB with a property table: text of each element by column, in the order of ``_FEATURE_ID_0``.

    `extras` are added to those of the asset. Columns without any text are left out.
    """
    document, binary = unpacked(data)
    filled = {name: values for name, values in columns.items() if any(values)}
    chunk = bytearray(binary)
    properties = {name: _strings(document, chunk, values) for name, values in filled.items()}
    count = len(next(iter(columns.values())))
    document["asset"]["extras"] = document["asset"].get("extras", {}) | dict(extras)
    document["extensionsUsed"] = ["EXT_mesh_features", "EXT_structural_metadata"]
    kinds = {name: {"type": "STRING"} for name in filled}
    document["extensions"] = {
        "EXT_structural_metadata": {
            "schema": {"id": "chengmai", "classes": {"asset": {"properties": kinds}}},
            "propertyTables": [{"class": "asset", "count": count, "properties": properties}],
        }
    }
    feature_ids = {"featureCount": count, "attribute": 0, "propertyTable": 0}
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["extensions"] = {"EXT_mesh_features": {"featureIds": [feature_ids]}}
    document["buffers"][0]["byteLength"] = len(chunk)
    return packed(document, bytes(chunk))


def _strings(document: dict[str, Any], chunk: bytearray, values: Sequence[str]) -> dict[str, Any]:
    texts = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, texts)]).astype("<u4")
    views = [_view(document, chunk, part) for part in (b"".join(texts), ends.tobytes())]
    return {"values": views[0], "stringOffsets": views[1], "stringOffsetType": "UINT32"}


def _view(document: dict[str, Any], chunk: bytearray, part: bytes) -> int:
    chunk += b"\0" * (-len(chunk) % _ALIGNED)
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(chunk), "byteLength": len(part)})
    chunk += part
    return len(document["bufferViews"]) - 1
