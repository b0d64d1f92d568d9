"""Where a model stands: what its file states about that, whether the statements agree, and the placement decided.

Levels are LoGeoRef (Clemen & Görne 2019): 10 address, 20 IfcSite latitude and longitude, 30 IfcSite placement, 40 world
coordinate system and true north, 50 map conversion with a CRS. Only level 50, or the CRS that the caller names, places
a model: a site's latitude and longitude is a template's default more often than not, so it is listed as a rival, or
proposed. Heights are taken over as stated; they are never turned into ellipsoidal ones.
"""

from twin.georeference.decision import CALLER, Frame, place
from twin.georeference.statements import LocalOrigin, MapConversion, Statements

__all__ = ["CALLER", "Frame", "LocalOrigin", "MapConversion", "Statements", "place"]
