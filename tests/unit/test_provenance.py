"""Fingerprints tell files apart by what is in them."""

import json
from pathlib import Path

import pytest

from buildmap import __version__
from buildmap.provenance import Provenance, fingerprint_file

SIZE = 200_000


def _write(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return fingerprint_file(path)


def test_equal_content_has_an_equal_fingerprint_whatever_the_name(tmp_path: Path) -> None:
    first = _write(tmp_path, "a.tif", bytes(SIZE))
    assert first == _write(tmp_path, "b.gpkg", bytes(SIZE))
    assert len(bytes.fromhex(first)) == 8


@pytest.mark.parametrize("changed", [0, 65_535, SIZE - 65_536, SIZE - 1])
def test_a_change_near_either_end_changes_it(tmp_path: Path, changed: int) -> None:
    content = bytearray(SIZE)
    content[changed] = 1
    assert _write(tmp_path, "a", bytes(SIZE)) != _write(tmp_path, "b", bytes(content))


def test_a_change_of_size_changes_it(tmp_path: Path) -> None:
    sizes = [0, 1, 65_536, 65_537, SIZE]
    assert len({_write(tmp_path, "a", bytes(size)) for size in sizes}) == len(sizes)


def test_the_stamp_is_one_line_of_sorted_json() -> None:
    stamp = Provenance(verb="predict", source="å.tif", source_fingerprint="00", options="--threshold 0.4")
    text = stamp.to_json()
    table = json.loads(text)
    assert "\n" not in text
    assert list(table) == sorted(table)
    assert table["source"] == "å.tif"
    assert (table["version"], table["model"]) == (__version__, None)
