"""Encoders of a library's own kind with one block a stage, so that whole networks are built in no time."""

import timm
from segmentation_models_pytorch.encoders import encoders
from timm.models import hrnet, swin_transformer

RESNET = "test_resnet"
"""timm's own for tests: widths 32 to 96, one block a stage."""
SWIN = "swin_for_tests"
HRNET = "hrnet_for_tests"
MIT = "mit_for_tests"

_BRANCHES = (4, 8, 16, 32)


def swin_for_tests(pretrained: bool = False, **kwargs: object) -> swin_transformer.SwinTransformer:
    sizes = {"patch_size": 4, "window_size": 7, "embed_dim": 8, "depths": (2, 1, 1, 2)}
    heads = {"num_heads": (1, 2, 2, 2)}
    return swin_transformer._create_swin_transformer(
        "swin_tiny_patch4_window7_224", pretrained, **(sizes | heads | kwargs)
    )


def hrnet_for_tests(pretrained: bool = False, **kwargs: object) -> hrnet.HighResolutionNet:
    return hrnet._create_hrnet("hrnet_w18_small", pretrained, cfg_variant=HRNET, **kwargs)


__all__: list[str] = []  # timm's registry adds what it is given


def _hrnet_stages() -> dict[str, object]:
    stages: dict[str, object] = {"stem_width": 16}
    for branches in range(1, 5):
        stages[f"stage{branches}"] = {
            "num_modules": 1,
            "num_branches": branches,
            "block_type": "BOTTLENECK" if branches == 1 else "BASIC",
            "num_blocks": (1,) * branches,
            "num_channels": _BRANCHES[:branches],
            "fuse_method": "SUM",
        }
    return stages


def register() -> None:
    """Make the names known to the libraries."""
    if timm.is_model(SWIN):
        return
    timm.models.register_model(swin_for_tests)
    timm.models.register_model(hrnet_for_tests)
    hrnet.cfg_cls[HRNET] = _hrnet_stages()
    mit = dict(encoders["mit_b0"])
    mit["params"] = mit["params"] | {
        "out_channels": [3, 0, 8, 16, 16, 32],
        "embed_dims": [8, 16, 16, 32],
        "num_heads": [1, 2, 2, 2],
        "depths": [1, 1, 1, 1],
    }
    encoders[MIT] = mit
