"""Model files made to run code, to read other files or to fill memory: refused, and nothing of it happens."""

import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save

from buildmap.contract import METADATA_KEY, card_to_json
from buildmap.errors import InputError, MismatchError
from buildmap.inference.model_files import read_card
from buildmap.inference.onnx_backend import OnnxBackend
from buildmap.models.checkpoint import load_checkpoint
from buildmap.preset import find_preset
from tests.faults.injection import run
from tests.networks import make_card, write_onnx
from tests.scenes import write_raster


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self._sign = sign

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self._sign,)


@pytest.mark.parametrize("name", ["m.safetensors", "m.onnx", "m.pth", "m.gpkg", "m.toml"])
def test_a_pickle_is_never_loaded(tmp_path: Path, name: str) -> None:
    sign = tmp_path / "harm"
    (tmp_path / name).write_bytes(pickle.dumps(Harm(sign)))
    raster = write_raster(tmp_path / "in.tif", np.zeros((3, 20, 20), np.uint8))
    code, out, err = run("predict", raster, tmp_path / "o.tif", "--model", tmp_path / name)
    assert (code, out) == (65, "")
    assert "is not a buildmap model" in err
    assert run("predict", raster, tmp_path / "o.tif", "--aoi", tmp_path / name)[0] == 65
    assert not sign.exists()
    pickle.loads((tmp_path / name).read_bytes())
    assert sign.exists()


@pytest.mark.parametrize("location", ["../secret.bin", "secret.bin", "/dev/zero", "link.bin"])
def test_weights_outside_an_onnx_file_are_never_read(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for secret in (tmp_path / "secret.bin", folder / "secret.bin"):
        secret.write_bytes(np.ones(3, np.float32).tobytes())
    (folder / "link.bin").hardlink_to(tmp_path / "secret.bin")
    path = write_onnx(folder / "m.onnx")
    model = onnx.load(path)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="is not a buildmap model"):
        OnnxBackend(path)


@pytest.mark.parametrize("length", [2**63 - 1, 2**40, 2**24 + 1, 100_000_000])
def test_a_header_of_absurd_length_is_not_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", length) + b'{"__metadata__":{}}')
        file.truncate(200_000_000)
    tracemalloc.start()
    assert read_card(path) is None
    with pytest.raises(InputError, match="is not a buildmap model"):
        load_checkpoint(path)
    assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("offsets", [[-12, 0], [12, 0], [0, 2**62], [0, 13]])
def test_tensors_outside_the_file_are_refused(tmp_path: Path, offsets: list[int]) -> None:
    path = tmp_path / "m.safetensors"
    whole = save({"a": np.zeros(3, np.float32)}, metadata={METADATA_KEY: card_to_json(make_card())})
    (length,) = struct.unpack("<Q", whole[:8])
    header = whole[8 : 8 + length].replace(b"[0,12]", str(offsets).encode())
    path.write_bytes(struct.pack("<Q", len(header)) + header + whole[8 + length :])
    with pytest.raises(InputError, match="is not a buildmap model"):
        load_checkpoint(path)


def test_a_card_names_no_file_to_read(tmp_path: Path) -> None:
    """Pretrained weights are for training: whoever loads a finished model needs none."""
    model = make_card().model
    table = card_to_json(make_card()).replace(
        f'"encoder_weights": {"null" if model.encoder_weights is None else "x"}',
        '"encoder_weights": "/etc/passwd"',
    )
    assert "/etc/passwd" in table
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({"a": np.zeros(3, np.float32)}, metadata={METADATA_KEY: table}))
    with pytest.raises(MismatchError, match="does not fit its weights"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "lite/../lite", "..", ""])
def test_a_preset_s_name_is_no_path(name: str) -> None:
    with pytest.raises(MismatchError, match="no preset"):
        find_preset(name)
