from typer.main import get_command

from buildmap.changes.options import Comparing, Delivery
from buildmap.cli.app import app

DEFAULTS = {param.name: param.default for param in get_command(app).commands["change"].params}  # type: ignore[attr-defined]


def test_from_python_everything_is_as_from_the_shell() -> None:
    comparing, delivery = Comparing(), Delivery()
    judging, confirming = comparing.judging, comparing.confirming
    assert DEFAULTS["iou_min"] == judging.iou_min
    assert DEFAULTS["area_change"] == judging.area_change
    assert DEFAULTS["confirm"] == f"{confirming.dates}/{confirming.of}"
    for name in ("shift_tolerance_m", "shift_block_m", "id_column"):
        assert DEFAULTS[name] == getattr(comparing, name)
    for name in ("layer", "format", "target_crs", "shifts", "html", "overwrite"):
        assert DEFAULTS[name] == getattr(delivery, name)
    assert (DEFAULTS["wait"], DEFAULTS["only"]) == (delivery.wait_s, None)
    assert delivery.only == ()
