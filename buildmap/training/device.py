"""Where a network learns, and in which precision."""

import logging
from typing import Literal

import torch
from lightning_fabric import Fabric

from buildmap.errors import ResourceError


def open_fabric(device: str, *, precision: str = "float32") -> Fabric:
    """Take one device: 'auto' (a GPU if there is one), 'cpu' or 'cuda'.

    A GPU computes in bfloat16 where that is safe, a CPU if `precision` is 'bfloat16'. On a CPU, equal
    runs end with equal bits either way.

    Raises:
        ResourceError: If the device is not there.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it prints INFO to stderr unasked
    gpu = torch.cuda.is_available()
    if device not in {"auto", "cpu", "cuda"}:
        raise ResourceError(f"no device '{device}'", hint="--device auto, cpu or cuda")
    if device == "cuda" and not gpu:
        raise ResourceError("device cuda asked for, but torch finds no GPU", hint="--device cpu")
    if device == "cpu" or not gpu:
        cpu_precision: Literal["bf16-mixed", "32-true"] = (
            "bf16-mixed" if precision == "bfloat16" else "32-true"
        )
        return Fabric(accelerator="cpu", devices=1, precision=cpu_precision)
    return Fabric(accelerator="cuda", devices=1, precision="bf16-mixed")
