"""What is asked of an ONNX file apart from running it; needs the `onnx` package, but no torch."""

import hashlib
from pathlib import Path

import numpy as np
import onnx

from buildmap.contract import METADATA_KEY, ModelCard, card_to_json
from buildmap.inference.deepness import DEEPNESS_KEYS, deepness_keys


def forget_origin(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes of where each node came from: files and lines on the author's disk."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def put_card(model: onnx.ModelProto, card: ModelCard) -> None:
    """Replace what a network in memory says of itself: our card, and the keys that Deepness reads."""
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key not in DEEPNESS_KEYS}
    own = deepness_keys(card) | {METADATA_KEY: card_to_json(card)}
    onnx.helper.set_model_props(model, kept | own)


def write_card(path: Path, card: ModelCard) -> None:
    """Replace the card of an ONNX file, and what it tells Deepness; weights, graph and the rest stay."""
    model = onnx.load(path, load_external_data=False)
    put_card(model, card)
    path.write_bytes(model.SerializeToString(deterministic=True))


def fingerprint_onnx(path: Path) -> str:
    """Give the SHA-256 of names, types, shapes and values of a file's constants, 16 hex digits."""
    digest = hashlib.sha256()
    weights = onnx.load(path, load_external_data=False).graph.initializer
    for tensor in sorted(weights, key=lambda tensor: str(tensor.name)):
        array = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor))
        digest.update(f"{tensor.name} {array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def is_int8(path: Path) -> bool:
    """Tell whether a file's network is quantized."""
    nodes = onnx.load(path, load_external_data=False).graph.node
    return any(node.op_type in {"QuantizeLinear", "QLinearConv"} for node in nodes)
