"""CONTRIBUTING.md: its picture of the layers is the one that is held, and its recipes work."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / ".github/CONTRIBUTING.md").read_text(encoding="utf-8")
DIFFS = re.findall(r"```diff\n(.*?)```", TEXT, re.DOTALL)
NEW_MODULES = {
    "models/one_layer.py": """
from torch import nn
from buildmap.models.network import Network

class OneLayer(Network):
    stride = 1

    def __init__(self, bands, classes):
        super().__init__()
        self.conv = nn.Conv2d(bands, classes, 3, padding=1)

    def forward(self, image):
        return self.conv(image)

def build(model, bands, classes):
    return OneLayer(bands, classes)
""",
    "losses/brier.py": """
from torch import nn

class Brier(nn.Module):
    def forward(self, logits, target, valid):
        return (logits[:, 0].sigmoid() - target)[valid].square().mean()
""",
}
USE = """
from pathlib import Path
import numpy as np, pyogrio, shapely, torch
from buildmap.losses.weighted_sum import build_loss
from buildmap.models import build_model
from buildmap.preset import Loss, Model
from buildmap.vector.writing.formats import format_of
from buildmap.vector.writing.sinks import sink_for
image = torch.zeros(1, 3, 8, 8)
logits = build_model(Model(name="one-layer"), 3, 1)(image)
loss = build_loss(Loss(brier=2))(torch.zeros(1, 1, 8, 8), torch.ones(1, 8, 8), torch.ones(1, 8, 8) > 0)
sink = sink_for(Path("o.sqlite"), format_of(Path("o.sqlite")), crs="EPSG:32630")
sink.append("houses", shapely.to_wkb(np.array([shapely.box(0, 0, 9, 9)])), {"score": np.array([0.5])})
sink.finish({"houses": 1})
info = pyogrio.read_info("o.sqlite")
print(*logits.shape, loss.item(), info["driver"], info["features"], *info["fields"])
"""


def test_the_layers_are_those_that_are_held() -> None:
    picture = re.findall(r"^    (\S.*)$", TEXT.split("## The layers")[1].split("##")[0], re.MULTILINE)
    drawn = [re.split(r" {2,}(?=[a-z]*[ ,].*[a-z]{3})", line)[0] for line in picture]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    held = contracts["contracts"][0]["layers"]
    for line, layer in zip(picture, held, strict=True):
        modules = set(layer.split(" | ")) - {"evaluate_change"}
        assert modules <= set(line.split()), layer
    assert len(drawn) == len(held)


@pytest.mark.parametrize("diff", DIFFS, ids=["network", "loss", "format"])
def test_a_recipe_is_short(diff: str) -> None:
    assert 0 < len(re.findall(r"^\+(?!\+\+)", diff, re.MULTILINE)) < 10


def test_the_recipes_work(tmp_path: Path) -> None:
    kept_out = shutil.ignore_patterns("__pycache__", "weights", "scene")
    shutil.copytree(ROOT / "buildmap", tmp_path / "buildmap", ignore=kept_out)
    for name, code in NEW_MODULES.items():
        (tmp_path / "buildmap" / name).write_text(code, encoding="utf-8")
    for diff in DIFFS:
        applied = ["git", "apply", "-"]
        subprocess.run(applied, input=diff, text=True, check=True, cwd=tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["1", "1", "8", "8", "0.5", "SQLite", "1", "score"], done.stderr
