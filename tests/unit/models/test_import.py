"""What importing the networks costs."""

import subprocess
import sys


def test_lite_is_built_without_the_libraries_of_networks() -> None:
    code = (
        "import sys; from buildmap.models import build_model; from buildmap.preset import Model;"
        "build_model(Model(name='lite'), 3, 1);"
        "sys.exit(bool({'timm', 'segmentation_models_pytorch', 'torchvision'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
