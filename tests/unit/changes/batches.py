"""Rows of a change, made up."""

from dataclasses import fields
from typing import Any

import numpy as np
import shapely

from buildmap.changes.columns import CHANGE_COLUMNS, ChangeBatch


def batch_of(count: int, **given: Any) -> ChangeBatch:
    """Make rows with these values, and with some of the right type elsewhere."""
    boxes = np.array([shapely.box(30 * n, 0, 30 * n + 10, 10) for n in range(count)] + [None], np.object_)[
        :-1
    ]
    values: dict[str, Any] = {field.name: np.zeros(count) for field in fields(ChangeBatch)}
    for name, kind in CHANGE_COLUMNS.items():
        values[name] = (
            np.array([f"{name}{n}" for n in range(count)] + [None], kind)[:-1]
            if kind is np.object_
            else np.arange(count, dtype=kind)
        )
    return ChangeBatch(**{**values, "polygons": boxes, "before": boxes, "after": boxes, **given})
