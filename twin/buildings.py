"""What is known of a building twice: as a footprint on the map and as a model; and what a building is used for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely

from twin.asset import AssetId, Attribute

if TYPE_CHECKING:
    import geopandas as gpd

COVERED = 0.5
"""Share of a footprint under a model from which on the model stands for it."""

PEOPLE = ("people", "population", "occupants", "人数", "人口")
"""What files call the people in a building, by day or night."""


class Sensitive(StrEnum):
    """A building that is told first: its people cannot do without, or cannot leave by themselves."""

    HOSPITAL = "hospital"
    SCHOOL = "school"
    KINDERGARTEN = "kindergarten"
    CARE = "care"


_WORDS: Mapping[Sensitive, tuple[str, ...]] = {
    Sensitive.KINDERGARTEN: ("幼儿园", "托儿", "托育", "kindergarten", "nursery"),
    Sensitive.CARE: ("养老", "敬老", "福利院", "护理院", "nursing home", "care home"),
    Sensitive.HOSPITAL: ("医院", "卫生院", "卫生服务", "卫生所", "诊所", "hospital", "clinic", "health centre"),
    Sensitive.SCHOOL: ("学校", "小学", "中学", "大学", "学院", "school", "college", "university"),
}


def sensitive(name: str | None, usage: str | None) -> Sensitive | None:
    """Return what makes a building sensitive, by the words of its usage and name; None where nothing does.

    >>> sensitive("河湾社区卫生服务中心", None)
    <Sensitive.HOSPITAL: 'hospital'>
    """
    said = f"{usage or ''} {name or ''}".casefold()
    return next((kind for kind, words in _WORDS.items() if any(word in said for word in words)), None)


def people(residents: float | None, properties: Mapping[str, Attribute]) -> int | None:
    """Return how many people a building holds, as its file says: people in it, else residents; None: it is silent."""
    for name in PEOPLE:
        said = properties.get(name)
        if isinstance(said, (int, float)) and not isinstance(said, bool) and said >= 0:
            return round(said)
    return None if residents is None or np.isnan(residents) else round(residents)


def stands_for(buildings: gpd.GeoDataFrame, models: Collection[str]) -> dict[AssetId, AssetId]:
    """Return, for each footprint that a building model mostly covers, the building of the model that stands for it.

    `buildings` is the layer of placed buildings; `models` are the sources whose buildings are models. Mostly is more
    than COVERED of its area under the footprints of one model together; of them, the one that covers most stands.
    """
    own = buildings["source"].isin(list(models)).to_numpy()
    shapes = buildings.geometry.to_numpy()
    drawn = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    flat, modelled = np.flatnonzero(~own & drawn), np.flatnonzero(own & drawn)
    if not len(flat) or not len(modelled):
        return {}
    pairs = shapely.STRtree(shapes[modelled]).query(shapes[flat], predicate="intersects")
    footprint, model = flat[pairs[0]], modelled[pairs[1]]
    common = shapely.area(shapely.intersection(shapes[footprint], shapes[model]))
    shared = pd.DataFrame(
        {
            "footprint": buildings["asset"].to_numpy()[footprint],
            "model": buildings["asset"].to_numpy()[model],
            "source": buildings["source"].to_numpy()[model],
            "share": common / shapely.area(shapes[footprint]),
        }
    )
    whole = shared.groupby(["footprint", "source"])["share"].transform("sum")
    covered = shared[whole > COVERED].sort_values("share", kind="stable").drop_duplicates("footprint", keep="last")
    return dict(zip(covered["footprint"], covered["model"], strict=True))
