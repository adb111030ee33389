"""What a band gave comes back as it was, or is told to be damaged."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import shapely
from shapely.geometry import box

from buildmap.vector.drawn import Drawn
from buildmap.vector.spool import DamagedSpool, load, pack, save
from buildmap.vector.tracing.bands import Pieces, trace_band


def some_drawn() -> Drawn:
    raw = np.array([box(0, 0, 10, 6) - box(2, 2, 4, 4), box(20, 1, 21, 2)], object)
    return Drawn(
        polygons=shapely.transform(raw, lambda corners: corners / 3),
        raw=raw,
        order=np.arange(10).reshape(2, 5),
        confidence=np.array([0.25, 1 / 3]),
        edge_certainty=np.array([np.nan, 0.5]),
        method=np.array(["raw", "adaptive"]),
        iou_raw=np.array([1.0, 0.9]),
        pixel_m=np.array([0.5, 0.4]),
        max_shift_m=np.array([0.0, 1.5]),
    )


def some_pieces() -> Pieces:
    values = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    return trace_band(values, 100, above=True, below=True, lowest=100).cut


def assert_same(drawn: Drawn, expected: Drawn) -> None:
    for field in fields(Drawn):
        got, wanted = getattr(drawn, field.name), getattr(expected, field.name)
        assert got.dtype.kind == wanted.dtype.kind
        if wanted.dtype == object:
            assert [polygon.wkb for polygon in got] == [polygon.wkb for polygon in wanted]
        else:
            np.testing.assert_array_equal(got, wanted)


def test_all_comes_back_as_it_was(tmp_path: Path) -> None:
    path, pieces = tmp_path / "000003.npz", some_pieces()
    save(path, pack(some_drawn(), pieces))
    drawn, back = load(path)
    assert_same(drawn, some_drawn())
    for part, whole in zip((*back.runs, *back.spans), (*pieces.runs, *pieces.spans), strict=True):
        assert part.dtype == whole.dtype
        np.testing.assert_array_equal(part, whole)
    assert len(pieces.runs.row) > 50
    assert [path.name for path in tmp_path.iterdir()] == ["000003.npz"]


def test_nothing_comes_back_as_nothing(tmp_path: Path) -> None:
    nothing = some_drawn().take(np.zeros(2, np.bool_))
    pieces = trace_band(np.zeros((4, 5), np.uint8), 0, above=False, below=False, lowest=1).cut
    save(tmp_path / "b.npz", pack(nothing, pieces))
    drawn, back = load(tmp_path / "b.npz")
    assert_same(drawn, nothing)
    assert len(back.runs.row) == len(back.spans.values) == 0


def test_the_same_content_gives_the_same_bytes() -> None:
    assert pack(some_drawn(), some_pieces()) == pack(some_drawn(), some_pieces())


def test_corners_of_pixels_take_half_the_bytes() -> None:
    pieces = some_pieces()
    pixels = np.array([box(0, 0, 10, 6).segmentize(0.01)] * 2, object)
    whole = np.array([shapely.transform(one, np.round) for one in pixels], object)
    shifted = some_drawn().take(np.array([0, 1]))
    sizes = [
        len(pack(Drawn(**{**{f.name: getattr(shifted, f.name) for f in fields(Drawn)}, "raw": raw}), pieces))
        for raw in (whole, pixels)
    ]
    assert sizes[1] - sizes[0] == 8 * shapely.get_num_coordinates(pixels).sum()


@pytest.mark.parametrize("place", [0, 3, 4, 200, -1])
def test_a_changed_byte_is_found(tmp_path: Path, place: int) -> None:
    packed = bytearray(pack(some_drawn(), some_pieces()))
    packed[place] ^= 1
    path = tmp_path / "b.npz"
    path.write_bytes(packed)
    with pytest.raises(DamagedSpool, match=r"b\.npz is damaged") as error:
        load(path)
    assert error.value.path == path


@pytest.mark.parametrize("kept", [0, 2, 4, 1000])
def test_a_file_cut_short_is_found(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "b.npz"
    path.write_bytes(pack(some_drawn(), some_pieces())[:kept])
    with pytest.raises(DamagedSpool):
        load(path)


def test_a_file_that_is_gone_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DamagedSpool):
        load(tmp_path / "b.npz")


def test_a_file_of_another_kind_of_product_is_damaged(tmp_path: Path) -> None:
    packed = pack(some_drawn(), some_pieces())
    body = packed[4:].replace(b"drawn.iou_raw", b"drawn.iou_rax")
    path = tmp_path / "b.npz"
    path.write_bytes(__import__("zlib").crc32(body).to_bytes(4, "little") + body)
    with pytest.raises(DamagedSpool):
        load(path)
