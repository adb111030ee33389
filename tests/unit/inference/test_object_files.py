"""Objects come back from their file as they were, or not at all."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from shapely import Point, Polygon, box

from buildmap.inference.object_files import load, pack
from buildmap.raster.parts import DamagedPart
from buildmap.vector.instance_rules import Candidates, no_candidates

OBJECTS = Candidates(
    polygons=np.array(
        [
            box(0.25, 1, 3, 4),
            Point(9, 9).buffer(3).difference(Point(9, 9).buffer(1)),
            Polygon([(1, 1), (5, 2), (3, 7)]),
        ],
        np.object_,
    ),
    score=np.array([0.9, 1 / 3, 0.5]),
    class_id=np.array([0, 1, 0]),
    method=np.array(["along", "crossing", "few"], np.object_),
    iou_raw=np.array([0.875, np.nan, 1]),
    window=np.array([[0, 0, 64, 64], [0, 0, 64, 64], [-1, -1, -1, -1]]),
    is_cut=np.array([True, False, True]),
)


@pytest.mark.parametrize("objects", [OBJECTS, no_candidates()], ids=["some", "none"])
def test_objects_come_back_as_they_were(tmp_path: Path, objects: Candidates) -> None:
    (tmp_path / "a.npz").write_bytes(pack(objects))
    found = load(tmp_path / "a.npz")
    for field in fields(Candidates):
        before, after = getattr(objects, field.name), getattr(found, field.name)
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        if field.name == "polygons":
            assert [one.wkb for one in before] == [one.wkb for one in after]
        else:
            np.testing.assert_array_equal(before, after)


def test_equal_objects_give_equal_bytes_and_others_do_not() -> None:
    assert pack(OBJECTS) == pack(OBJECTS.take(np.arange(3)))
    assert pack(OBJECTS) != pack(replace(OBJECTS, score=OBJECTS.score + 1e-15))


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    packed, path = pack(OBJECTS), tmp_path / "a.npz"
    for place in range(0, len(packed), 211):
        damaged = bytearray(packed)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(DamagedPart, match=r"a\.npz is damaged"):
            load(path)
    path.write_bytes(packed[:-1])
    with pytest.raises(DamagedPart):
        load(path)
    with pytest.raises(DamagedPart):
        load(tmp_path / "none.npz")
