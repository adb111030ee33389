"""Whether a STAC Item keeps the rules of those who made them.

pystac brings the schema of Items itself. Those of extensions lie in the internet: the folder that
`STAC_SCHEMAS` names may hold them, and those that they point into, as `NAME.json`; what `check_model_item`
asks for, in words of our own, is what MLM's reference asks of every model.
"""

import json
import os
from pathlib import Path
from typing import Any

import pystac
import pytest
from jsonschema import Draft7Validator
from pystac.extensions.mlm import MLMExtension
from pystac.validation import RegisteredValidator
from referencing import Registry
from referencing.jsonschema import DRAFT7

_TASKS = {
    "classification",
    "detection",
    "instance-segmentation",
    "object-detection",
    "segmentation",
    "semantic-segmentation",
}
_NUMBERS = {"uint8", "uint16", "int16", "float32"}


def check_item(item: dict[str, Any]) -> None:
    """Check against the schema of STAC 1.1 Items, and that pystac reads and writes the same."""
    RegisteredValidator.get_validator().validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    again = pystac.Item.from_dict(item, preserve_dict=True)
    assert again.to_dict(include_self_link=False) == item
    assert json.loads(json.dumps(item)) == item


def check_model_item(item: dict[str, Any]) -> None:
    """Check what MLM asks of every model."""
    told = item["properties"]
    assert {"mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"} <= told.keys()
    assert {*told["mlm:tasks"]} <= _TASKS
    for number in ("mlm:total_parameters", "mlm:memory_size"):
        assert type(told[number]) is int
        assert told[number] > 0
    known = {band["name"] for band in told["bands"]}
    for arrived in told["mlm:input"]:
        assert {*arrived["bands"]} <= known
        _check_array(arrived["input"], bands=len(arrived["bands"]))
        assert len(arrived["value_scaling"]) == len(arrived["bands"])
        assert {scaling["type"] for scaling in arrived["value_scaling"]} == {"z-score"}
    for given in told["mlm:output"]:
        assert {*given["tasks"]} <= {*told["mlm:tasks"]}
        _check_array(given["result"])
    read = MLMExtension.ext(pystac.Item.from_dict(item))
    assert read.mlm_name == told["mlm:name"]
    assert [one.input.shape for one in read.input] == [one["input"]["shape"] for one in told["mlm:input"]]
    assert [one.name for one in read.output] == [one["name"] for one in told["mlm:output"]]
    models = [asset for asset in item["assets"].values() if "mlm:model" in asset["roles"]]
    assert [bool(asset["mlm:artifact_type"]) for asset in models] == [True]


def check_extensions(item: dict[str, Any]) -> None:
    """Check against the extensions' own schemas, where they are at hand."""
    folder = os.environ.get("STAC_SCHEMAS")
    if folder is None:
        pytest.skip("STAC_SCHEMAS names no folder with the schemas of STAC's extensions")
    schemas = {}
    for path in Path(folder).glob("*.json"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        address = schema["$id"].removesuffix("#")
        schemas[address] = schema | {"$id": address}
    registry: Registry[Any] = Registry(retrieve=lambda _: DRAFT7.create_resource({})).with_resources(  # type: ignore[call-arg]
        (address, DRAFT7.create_resource(schema)) for address, schema in schemas.items()
    )
    for address in item["stac_extensions"]:
        Draft7Validator(schemas[address], registry=registry).validate(item)


def _check_array(array: dict[str, Any], bands: int | None = None) -> None:
    assert len(array["shape"]) == len(array["dim_order"]) == len({*array["dim_order"]})
    assert all(type(size) is int and (size == -1 or size > 0) for size in array["shape"])
    assert array["data_type"] in _NUMBERS
    if bands is not None:
        assert array["shape"][array["dim_order"].index("bands")] == bands
