"""The story of `buildmap doctor`: every fact once, those that fail counted, nothing left behind."""

import tempfile
from pathlib import Path

import pytest

from buildmap.checks import geography, libraries, machine, networks
from buildmap.checks.fact import Fact, ok, warning
from buildmap.doctor import doctor


def _rename(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put simple facts in place of the slow checks."""
    for module, names in [
        (libraries, ("numba", "packages")),
        (
            geography,
            (
                "gdal_of_rasterio",
                "gdal_of_pyogrio",
                "proj_of_rasterio",
                "proj_of_pyproj",
                "proj_of_pyogrio",
                "geotiff",
                "geopackage",
            ),
        ),
        (networks, ("shipped_models", "builtin_model_runs")),
    ]:
        for name in names:
            monkeypatch.setattr(module, name, lambda name=name: ok(name, "fine"))


def test_an_environment_that_is_well_has_no_failure_and_each_fact_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = doctor(frozenset())
    assert [fact for fact in found.facts if fact.status == "failed"] == []
    names = [fact.name for fact in found.facts]
    assert len(names) == len(set(names))
    assert {"Python", "numba", "PROJ of pyogrio", "GeoPackage", "built-in model"} < set(names)
    assert found.failed == 0
    assert found.warnings == sum(fact.status == "warning" for fact in found.facts)
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_breaks_off_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _rename(monkeypatch)

    def broken() -> Fact:
        raise ImportError("libgdal.so.99 is missing")

    monkeypatch.setattr(geography, "gdal_of_pyogrio", broken)
    monkeypatch.setenv("BUILDMAP_TRESHOLD", "1")
    for name in ("memory", "temporary_folder", "encoding"):
        monkeypatch.setattr(machine, name, lambda name=name: warning(name, "little"))
    found = doctor({"BUILDMAP_THRESHOLD"})
    failed = [fact for fact in found.facts if fact.status == "failed"]
    assert [(fact.name, fact.detail) for fact in failed] == [
        ("GDAL of pyogrio", "ImportError: libgdal.so.99 is missing")
    ]
    assert (found.failed, found.warnings) == (1, 4)
    assert "builtin_model_runs" in [fact.name for fact in found.facts]


def test_the_driver_is_asked_once_for_all_that_want_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    _rename(monkeypatch)
    asked = []
    monkeypatch.setattr(libraries, "seen_gpus", lambda: asked.append(1) or ("NVIDIA X, 1 MiB, driver 5",))
    monkeypatch.setattr(libraries, "torch", lambda gpus: ok("torch", str(gpus)))
    monkeypatch.setattr(networks, "onnxruntime", lambda gpus: ok("onnxruntime", str(gpus)))
    told = {fact.name: fact.detail for fact in doctor(frozenset()).facts}
    assert asked == [1]
    assert told["GPU"] == "NVIDIA X, 1 MiB, driver 5"
    assert told["torch"] == told["onnxruntime"] == "('NVIDIA X, 1 MiB, driver 5',)"
