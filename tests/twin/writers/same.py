"""Whether assets that went through a file are the ones that went in."""

import math
from dataclasses import fields

import shapely


def differences(first, second):
    """Return (id, field, one value, the other) of two sequences of assets that should be the same.

    Numbers may differ by what twelve digits and two conversions of unit leave (1e-9), shapes by a micrometre; a
    polygon may lose a corner that stands twice.
    """
    if [asset.id for asset in first] != [asset.id for asset in second]:
        return [("ids", "", [asset.id for asset in first], [asset.id for asset in second])]
    return [
        (one.id, field.name, getattr(one, field.name), getattr(other, field.name))
        for one, other in zip(first, second, strict=True)
        for field in fields(one)
        if not _same(getattr(one, field.name), getattr(other, field.name))
    ]


def _same(one, other):
    if isinstance(one, shapely.Geometry):
        one, other = shapely.remove_repeated_points(one), shapely.remove_repeated_points(other)
        return shapely.equals_exact(shapely.normalize(one), shapely.normalize(other), 1e-6)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one == other
