"""The formats that a city can be written in, by the names that a command line takes."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """What a city can be written as."""

    GEOJSON = "geojson"
    CITYJSON = "cityjson"
    GLB = "glb"
    TILES_3D = "3dtiles"
    EPANET = "epanet"
    SWMM = "swmm"
    SURVEY = "survey"
    GEOPACKAGE = "geopackage"
