"""`buildmap doctor`, seen from a shell: sound, and with faults put into its environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from buildmap import doctor as story
from buildmap.checks.fact import Fact, failed, ok, warning
from buildmap.cli.app import app
from buildmap.doctor import Diagnosis

FACTS = (
    ok("cores", "8"),
    warning("memory", "1.0 GB", "buy some"),
    failed("GeoTIFF", "cannot be written", "unset PROJ_DATA"),
)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[str]]:
    """Let the doctor find `FACTS`, and keep which variables it was given."""
    given = []

    def doctor(variables: frozenset[str], facts: tuple[Fact, ...] = FACTS) -> Diagnosis:
        given.append(variables)
        return Diagnosis(facts=facts, warnings=1, failed=1)

    monkeypatch.setattr(story, "doctor", doctor)
    return given


@pytest.mark.usefixtures("told")
def test_each_fact_is_a_line_its_hint_another_and_a_failure_ends_with_69() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 69
    assert result.stdout.splitlines() == [
        "ok       cores    8",
        "warning  memory   1.0 GB",
        "                  hint: buy some",
        "failed   GeoTIFF  cannot be written",
        "                  hint: unset PROJ_DATA",
    ]
    assert result.stderr == "error: 1 of 3 checks has failed: GeoTIFF\n"


@pytest.mark.usefixtures("told")
def test_json_is_one_object_also_where_something_failed() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 69
    found = json.loads(result.stdout)
    assert found == {
        "facts": [
            {"name": "cores", "status": "ok", "detail": "8", "hint": None},
            {"name": "memory", "status": "warning", "detail": "1.0 GB", "hint": "buy some"},
            {
                "name": "GeoTIFF",
                "status": "failed",
                "detail": "cannot be written",
                "hint": "unset PROJ_DATA",
            },
        ],
        "warnings": 1,
        "failed": 1,
    }


def test_it_knows_the_variables_of_all_commands(told: list[frozenset[str]]) -> None:
    CliRunner().invoke(app, ["doctor"])
    expected = {
        "BUILDMAP_DEBUG",
        "BUILDMAP_QUIET",
        "BUILDMAP_THRESHOLD",
        "BUILDMAP_PREDICT_THRESHOLD",
        "BUILDMAP_DOCTOR_JSON",
    }
    assert expected <= told[0]
    assert all(name.startswith("BUILDMAP_") for name in told[0])


def test_faults_of_the_environment_are_told_and_nothing_else_is_written(tmp_path: Path) -> None:
    """Data of no PROJ and no GDAL, a broken library, no temporary folder, a misspelt variable, ASCII."""
    broken = tmp_path / "site" / "onnxruntime"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libonnx.so.1: cannot open')", encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(broken.parent),
        "PROJ_DATA": str(tmp_path),
        "GDAL_DATA": str(tmp_path),
        "TMPDIR": str(tmp_path / "gone"),
        "BUILDMAP_PREDICT_TRESHOLD": "0.4",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }
    result = subprocess.run(
        [sys.executable, "-m", "buildmap", "doctor", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    facts = {fact["name"]: fact for fact in json.loads(result.stdout)["facts"]}
    ill = {name: fact["status"] for name, fact in facts.items() if fact["status"] != "ok"}
    ill.pop("memory", None)  # the machine's own matter
    assert ill == {
        "temporary folder": "warning",
        "encoding": "warning",
        "variables": "warning",
        "GDAL of rasterio": "warning",
        "PROJ of rasterio": "failed",
        "GeoTIFF": "failed",
        "onnxruntime": "failed",
        "built-in model": "failed",
    }
    assert facts["onnxruntime"]["detail"] == "ImportError: libonnx.so.1: cannot open"
    assert facts["PROJ of rasterio"]["hint"].startswith("unset PROJ_DATA: ")
    assert "did you mean 'BUILDMAP_PREDICT_THRESHOLD'?" in facts["variables"]["hint"]
    names = "PROJ of rasterio, GeoTIFF, onnxruntime, built-in model"
    assert result.returncode == 69
    assert result.stderr == f"error: 4 of {len(facts)} checks have failed: {names}\n"
