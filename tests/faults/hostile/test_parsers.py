"""Every parser that is ours, given any bytes: a value, or an error that says what is wrong."""

import json
import os
import shutil
import string
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from buildmap.cli.options import box, date, number, size_bytes
from buildmap.cli.predict import _names, _numbers, _shard
from buildmap.contract import METADATA_KEY, card_from_json, card_to_json
from buildmap.data.coco import CocoFile, CocoFiles
from buildmap.data.comparisons import read_comparisons
from buildmap.errors import BuildmapError, MismatchError
from buildmap.execution.journal import Journal
from buildmap.inference.devices import parse_devices
from buildmap.inference.model_files import read_card
from buildmap.models.checkpoint import load_checkpoint
from buildmap.models.encoder_weights import read_weights
from buildmap.preset import change_preset, find_preset, load_preset, preset_paths, read_value
from buildmap.raster.reader import RasterReader
from buildmap.raster.sniff import sniff
from buildmap.raster.source import Source
from buildmap.search.plan import load_plan, plan_paths
from buildmap.training.record import from_line
from buildmap.vector.crs import as_crs
from buildmap.vector.spool import load as load_spool
from tests.faults.hostile.bytes_of import any_or_damaged, damaged, outcome
from tests.networks import make_card, write_onnx
from tests.scenes import write_raster

EXAMPLES = int(os.environ.get("BUILDMAP_EXAMPLES", "15"))
"""For each parser; more find more."""
few = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

CARD = card_to_json(make_card()).encode()
TENSORS = save({"a": np.zeros(3, np.float32)}, metadata={METADATA_KEY: CARD.decode()})
PRESET = preset_paths()["lite"].read_bytes()
PLAN = next(iter(plan_paths().values())).read_bytes()
COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.tif", "width": 20, "height": 10}],
        "categories": [{"id": 1, "name": "building"}, {"id": 2, "name": "tree"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]},
            {"image_id": 1, "category_id": 1, "segmentation": {"size": [10, 20], "counts": [20, 5, 175]}},
            {"image_id": 1, "category_id": 1, "segmentation": {"size": [10, 20], "counts": "d05_5"}},
        ],
    }
).encode()
PAIRS = b"prediction,truth,image\np.tif,t.tif,i.tif\n"
VRT = (
    b'<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
    b'<SourceFilename relativeToVRT="1">a.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
)


@few
@given(text=any_or_damaged(CARD).map(lambda content: content.decode(errors="replace")))
@example(text=CARD.decode().replace('"threshold": 0.5', '"threshold": NaN'))
@example(text=CARD.decode().replace('"stride": 16', '"stride": true'))
def test_a_model_s_card(text: str) -> None:
    outcome(lambda: card_from_json(text, where="m.onnx"), BuildmapError)


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
@few
@given(data=st.data())
def test_a_model_file_that_is_only_looked_at(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    path = tmp_path / f"m{suffix}"
    good = TENSORS if suffix == ".safetensors" else write_onnx(path).read_bytes()
    path.write_bytes(data.draw(any_or_damaged(good)))
    outcome(lambda: read_card(path), BuildmapError)


@few
@given(content=any_or_damaged(TENSORS))
@example(content=(2**63).to_bytes(8, "little") + b"{}")
@example(content=TENSORS.replace(b"[0,12]", b"[12,0]"))
@example(content=TENSORS.replace(b"[0,12]", b"[-9,3]"))
@example(content=TENSORS.replace(b'"F32"', b'"F32","dtype":"F64"'))
def test_a_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    outcome(lambda: load_checkpoint(tmp_path / "m.safetensors"), BuildmapError)


@few
@given(content=any_or_damaged(TENSORS))
@example(content=b"M")
def test_encoder_weights(tmp_path: Path, content: bytes) -> None:
    for name in ("w.safetensors", "w.pth"):
        (tmp_path / name).write_bytes(content)
        outcome(lambda name=name: read_weights(tmp_path / name), BuildmapError)


@few
@given(content=any_or_damaged(PRESET))
@example(content=b"a = " + b"[" * 5000)
@example(content=b"a = " + b"9" * 5000)
def test_a_preset(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.toml").write_bytes(content)
    outcome(lambda: load_preset(tmp_path / "p.toml"), BuildmapError)


@few
@given(content=any_or_damaged(PLAN))
@example(content=b"[grid]\n" + b".".join([b"a"] * 3000) + b" = [1]")
def test_a_search(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.toml").write_bytes(content)
    outcome(lambda: load_plan(tmp_path / "p.toml"), BuildmapError)


@few
@given(key=st.text(max_size=30), text=st.text(max_size=30))
@example(key="training.seed", text="[" * 5000)
@example(key="training.seed", text="9" * 5000)
@example(key="training.seed", text="1\nother = 2")
@example(key="training.learning_rate", text="nan")
def test_a_setting_of_a_preset(key: str, text: str) -> None:
    outcome(lambda: read_value(text), BuildmapError)
    outcome(lambda: change_preset(find_preset("lite"), {key: text}), BuildmapError)


@pytest.mark.parametrize("name", ["plan.json", "000003.json"])
@few
@given(data=st.data())
def test_a_journal(tmp_path: Path, name: str, data: st.DataObject) -> None:
    folder = tmp_path / "strips"
    shutil.rmtree(folder, ignore_errors=True)
    journal = Journal(folder, {"input": "a"}, suffix=".tif")
    journal.product(3).write_bytes(b"product")
    journal.record(3, {"rows": 9})
    (folder / name).write_bytes(data.draw(any_or_damaged((folder / name).read_bytes())))

    def go_on() -> None:
        journal = Journal(folder, {"input": "a"}, suffix=".tif")
        for step in journal.done():
            journal.facts(step)

    outcome(go_on, MismatchError)


def test_a_damaged_record_is_a_step_to_do_again_and_a_damaged_plan_is_said(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {"input": "a"}, suffix=".tif")
    for step in (3, 4, 5):
        journal.product(step).touch()
        journal.record(step, {"rows": 9})
    (tmp_path / "000003.json").write_bytes(b"\0" * 20)
    (tmp_path / "000004.json").write_text((tmp_path / "000004.json").read_text().replace("facts", "fact"))
    (tmp_path / "5x.json").touch()
    assert Journal(tmp_path, {"input": "a"}, suffix=".tif").done() == {5}
    (tmp_path / "plan.json").write_bytes(b"")
    with pytest.raises(MismatchError, match="no plan that can be read"):
        Journal(tmp_path, {"input": "a"}, suffix=".tif")


def test_runs_whose_sum_overflows_are_no_mask(tmp_path: Path) -> None:
    """2^62 four times and the size of the image: 64 bits wrap around to that size."""
    counts = [2**62] * 4 + [200]
    assert int(np.array(counts, np.int64).sum()) == 200
    content = COCO.replace(b"[20, 5, 175]", json.dumps(counts).encode())
    (tmp_path / "a.json").write_bytes(content)
    found = CocoFile(tmp_path / "a.json").footprints(Path("a.tif"), width=20, height=10)
    (tmp_path / "b.json").write_bytes(COCO)
    whole = CocoFile(tmp_path / "b.json").footprints(Path("a.tif"), width=20, height=10)
    assert found.repairs.null == whole.repairs.null + 1


@few
@given(content=any_or_damaged(COCO))
@example(content=b'{"type": [], "images": []}')
@example(content=COCO.replace(b'"id": 1', b'"id": [1]'))
@example(content=COCO.replace(b'"category_id": 1', b'"category_id": {}'))
@example(content=COCO.replace(b'"image_id": 1', b'"image_id": [1]'))
@example(
    content=COCO.replace(
        b"[20, 5, 175]",
        b"[4611686018427387904, 4611686018427387904, 4611686018427387904, 4611686018427387904, 200]",
    )
)
@example(content=COCO.replace(b"[20, 5, 175]", b"[20, 9223372036854775807, -9223372036854775627]"))
@example(content=COCO.replace(b"[10, 20]", b"[1000000, 1000000]"))
@example(content=COCO.replace(b"[1, 1, 5, 1, 5, 5]", b"[NaN, Infinity, 5, 1, 5, 1e999]"))
@example(content=COCO.replace(b'"width": 20', b'"width": ' + b"9" * 5000))
def test_coco_annotations(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)

    def read() -> None:
        file = CocoFiles().find(tmp_path / "a.json")
        if file is not None:
            file.footprints(Path("a.tif"), width=20, height=10)

    outcome(read, BuildmapError)


@few
@given(content=any_or_damaged(PAIRS))
def test_a_table_of_pairs(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pairs.csv").write_bytes(content)
    outcome(lambda: read_comparisons(tmp_path / "pairs.csv"), BuildmapError)


@few
@given(
    content=st.one_of(any_or_damaged(b"a.tif\n# comment\n/vsizip/b.zip/c.tif\n-q\n"), st.binary(max_size=40))
)
@example(content=b"a\0.tif\n")
@example(content=b"a" * 5000 + b"\n")
@example(content=b"-\n--overwrite\n")
def test_a_list_of_rasters(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)

    def read() -> None:
        names, _ = _names(str(tmp_path / "o.tif"), None, path)
        Source(
            rasters=tuple(name for name in names if "://" not in name and "vsi" not in name) or ("a",)
        ).open()

    outcome(read, BuildmapError)


@few
@given(content=any_or_damaged(VRT))
def test_a_vrt(tmp_path: Path, content: bytes) -> None:
    write_raster(tmp_path / "a.tif", np.zeros((9, 9), np.uint8)) if not (
        tmp_path / "a.tif"
    ).exists() else None
    (tmp_path / "v.vrt").write_bytes(content)
    outcome(lambda: sniff(tmp_path / "v.vrt"), BuildmapError)


@pytest.mark.parametrize("suffix", ["", ".aux.xml", ".ovr", ".msk"])
@settings(few, max_examples=max(EXAMPLES // 2, 5))
@given(data=st.data())
def test_a_tiff_and_what_lies_beside_it(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    path = write_raster(tmp_path / "a.tif", np.zeros((40, 40), np.uint8))
    good = path.read_bytes() if suffix != ".aux.xml" else b"<PAMDataset><Metadata/></PAMDataset>"
    Path(f"{path}{suffix}").write_bytes(data.draw(damaged(good)))

    def read() -> None:
        with warnings.catch_warnings(action="ignore"), RasterReader(path) as reader:
            if reader.grid.width * reader.grid.height < 10**6:
                reader.read(reader.grid.window)

    outcome(read, BuildmapError)


@few
@given(content=any_or_damaged(b"1234" + TENSORS))
def test_what_a_band_has_left(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.npz").write_bytes(content)
    assert outcome(lambda: load_spool(tmp_path / "b.npz"), BuildmapError) == "DamagedSpool"


@few
@given(
    line=any_or_damaged(b'{"epoch": 1, "loss": 0.5, "iou": 0.3}').map(lambda b: b.decode(errors="replace"))
)
def test_the_record_of_an_epoch(line: str) -> None:
    outcome(lambda: from_line(line), ValueError)


WORDS = st.one_of(st.text(max_size=30), st.text(alphabet=string.digits + ",./-:eGMi kN", max_size=30))
OPTIONS: dict[str, Callable[[str], object]] = {
    "--bbox": box,
    "--max-memory": size_bytes,
    "--date": date,
    "--bands": _numbers,
    "--shard": _shard,
    "--device": parse_devices,
}


@pytest.mark.parametrize("option", OPTIONS)
@few
@given(text=WORDS)
@example(text="")
@example(text="9" * 5000)
@example(text="9" * 400 + "G")
@example(text="9" * 5000 + "/" + "9" * 5000)
@example(text="cuda:" + "9" * 5000)
@example(text="1,2,3,nan")
@example(text="२०२४")
def test_an_option(option: str, text: str) -> None:
    outcome(lambda: OPTIONS[option](text), BuildmapError, typer.BadParameter)


@settings(few, max_examples=3)  # PROJ goes through all names it knows for each
@given(text=WORDS)
@example(text="")
def test_a_crs(text: str) -> None:
    outcome(lambda: as_crs(text), BuildmapError)


def test_nothing_is_no_date() -> None:
    with pytest.raises(typer.BadParameter, match="is not a date"):
        date("")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(typer.BadParameter, match="not a finite number"):
        number(value)


@pytest.mark.parametrize("key", ["threshold", "mean", "gsd_max_m"])
def test_a_card_with_a_value_that_is_no_number_is_refused(key: str) -> None:
    table = asdict(make_card())
    if key == "threshold":
        table[key] = float("nan")
    else:
        table["data"][key] = float("inf") if key == "gsd_max_m" else [float("nan")] * 3
    with pytest.raises(MismatchError, match=rf"{key} is (nan|inf)"):
        card_from_json(json.dumps(table), where="m.onnx")
