"""What all STAC Items have in common (STAC 1.1.0)."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from buildmap.stac.ground import Ground

Item = dict[str, Any]
"""A GeoJSON Feature, as `json` writes it."""

FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"

_STAC_VERSION = "1.1.0"
_ALWAYS = ("1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
"""A range that stands for any time, as the MLM extension's best practices have it; STAC has no open ones."""
_NO_NAME = re.compile(r"[^0-9A-Za-z_.-]+")


def make_item(
    name: str,
    *,
    extensions: Sequence[str],
    ground: Ground | None,
    dates: tuple[str, str] | None,
    properties: Mapping[str, Any],
    assets: Mapping[str, Mapping[str, Any]],
) -> Item:
    """Put an Item together; equal arguments give equal Items.

    Args:
        name: Becomes the id, without what a file's or a URL's name had better not hold.
        extensions: URLs of the schemas that apply.
        ground: None where nobody knows.
        dates: First and last, YYYY, YYYY-MM or YYYY-MM-DD; None stands for any time.
        properties: All but the time.
        assets: By key.
    """
    placed = (
        {"geometry": None} if ground is None else {"geometry": ground.geometry, "bbox": list(ground.bbox)}
    )
    return {
        "type": "Feature",
        "stac_version": _STAC_VERSION,
        "stac_extensions": sorted(extensions),
        "id": safe_name(name),
        **placed,
        "properties": {**time_of(dates), **properties},
        "links": [],
        "assets": dict(assets),
    }


def safe_name(text: str) -> str:
    """Give a text without blanks, slashes and whatever else an id or a class had better not hold."""
    return _NO_NAME.sub("-", text).strip("-") or "unnamed"


def time_of(dates: tuple[str, str] | None) -> dict[str, str | None]:
    """Give the properties that tell the time: of one day its beginning, of more the first and last second."""
    if dates is None:
        return {"datetime": None, "start_datetime": _ALWAYS[0], "end_datetime": _ALWAYS[1]}
    first, last = _days(dates[0])[0], _days(dates[1])[1]
    if first == last:
        return {"datetime": f"{first}T00:00:00Z"}
    return {"datetime": None, "start_datetime": f"{first}T00:00:00Z", "end_datetime": f"{last}T23:59:59Z"}


def _days(text: str) -> tuple[date, date]:
    """Give the first and the last day of a day, a month or a year."""
    form = {4: "%Y", 7: "%Y-%m"}.get(len(text), "%Y-%m-%d")
    first = datetime.strptime(text[:10], form).replace(tzinfo=UTC).date()
    if len(text) == 4:
        return first, first.replace(month=12, day=31)
    if len(text) == 7:
        return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return first, first
