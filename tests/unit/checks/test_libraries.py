"""Libraries are told as they are installed; drivers and packages are stood in for by programs and names."""

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from buildmap import compiled
from buildmap.checks import libraries

GPU = ("NVIDIA X, 81559 MiB, driver 550.54",)


def _driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")


def _installed(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], needs: tuple[str, ...] = ()
) -> None:
    """Let these packages alone be installed; `needs` are torchvision's."""

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    def requires(name: str) -> list[str]:
        version(name)
        return list(needs)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", requires)


def test_numba_compiles_and_keeps_what_it_compiled() -> None:
    told = libraries.numba()
    assert told.status == "ok"
    assert told.detail.startswith(metadata.version("numba"))
    assert Path(told.detail.partition("compiled code in ")[2]).is_dir()


def test_compiled_code_that_cannot_be_kept_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_CACHE", False)
    told = libraries.numba()
    assert told.status == "warning"
    assert told.hint is not None and "NUMBA_CACHE_DIR" in told.hint


def test_a_compiler_that_errs_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "compiled", lambda _: lambda number: number + 2)
    assert libraries.numba().status == "failed"


def test_without_a_driver_there_is_no_gpu_and_that_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert libraries.seen_gpus() is None
    assert libraries.gpu(None).status == "ok"


def test_the_driver_s_gpus_are_named_with_their_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _driver(tmp_path, monkeypatch, "printf 'NVIDIA X, 81559, 550.54\\nNVIDIA Y, 24564, 550.54\\n'")
    seen = libraries.seen_gpus()
    assert seen == ("NVIDIA X, 81559 MiB, driver 550.54", "NVIDIA Y, 24564 MiB, driver 550.54")
    told = libraries.gpu(seen)
    assert (told.status, told.detail) == ("ok", "; ".join(seen))


@pytest.mark.parametrize("body", ["echo 'Failed, 9, 9'; exit 9", "echo no devices were found"])
def test_a_driver_that_fails_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    _driver(tmp_path, monkeypatch, body)
    assert libraries.seen_gpus() == ()
    assert libraries.gpu(()).status == "warning"


def test_absent_torch_is_fine_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, {})
    told = libraries.torch(GPU)
    assert told.status == "ok"
    assert "pip install 'buildmap[torch]'" in told.detail


def test_torch_is_told_with_the_cuda_it_was_built_for() -> None:
    torch = pytest.importorskip("torch")
    told = libraries.torch(None)
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    assert (told.status, told.detail) == ("ok", f"{metadata.version('torch')}, {built}, no GPU")


def test_a_torchvision_of_another_torch_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, {"torch": "2.9.1+cu130", "torchvision": "0.23"}, ("numpy", "torch==2.8.0"))
    told = libraries.torch(None)
    assert told.status == "failed"
    assert "torchvision is made for torch 2.8.0" in told.detail
    _installed(monkeypatch, {"torch": "2.8.0+cu130", "torchvision": "0.23"}, ("numpy", "torch==2.8.0"))
    assert libraries.torch(None).status == "ok"


def test_torch_without_cuda_beside_a_gpu_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, {"torch": "2.8.0"})
    monkeypatch.setattr(libraries, "_cuda_of_torch", lambda: None)
    monkeypatch.setattr(libraries, "_LOOK_THROUGH_TORCH", "raise RuntimeError")
    told = libraries.torch(GPU)
    assert (told.status, told.detail) == ("warning", "2.8.0, built without CUDA, but there is a GPU")


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (f"print({json.dumps(['NVIDIA X, 85.0 GB'])!r})", "ok", "NVIDIA X, 85.0 GB"),
        ("print('[]')", "warning", "torch finds no GPU"),
        ("raise RuntimeError('CUDA error: no kernel image')", "failed", "no kernel image"),
        ("import os; os.abort()", "failed", "ended with -6"),
        ("import time; time.sleep(9)", "failed", "did not answer"),
    ],
)
def test_torch_is_tried_on_the_gpu_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch, body: str, status: str, word: str
) -> None:
    _installed(monkeypatch, {"torch": "2.8.0"})
    monkeypatch.setattr(libraries, "_cuda_of_torch", lambda: "13.0")
    monkeypatch.setattr(libraries, "_LOOK_THROUGH_TORCH", body)
    monkeypatch.setattr(libraries, "_PATIENCE_S", 0.2 if "sleep" in body else 30)
    told = libraries.torch(GPU)
    assert (told.status, word in told.detail) == (status, True), told.detail


def test_every_package_and_every_extra_for_users_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional, needed = declared["optional-dependencies"], declared["dependencies"]
    lines = [f"{line}; extra == '{extra}'" for extra, needs in optional.items() for line in needs]
    versions = {re.split("[>=<;]", line)[0]: "3.1" for line in needed}
    _installed(monkeypatch, versions | {"buildmap": "1", "pyarrow": "21.0"}, (*needed, *lines))
    facts = {fact.name: fact for fact in libraries.packages()}
    assert facts.keys() == {"packages", *(f"extra {name}" for name in optional.keys() - {"dev", "test"})}
    assert {fact.status for fact in facts.values()} == {"ok"}
    assert facts["packages"].detail == ", ".join(f"{name} 3.1" for name in versions)
    assert facts["extra parquet"].detail == "pyarrow 21.0"
    assert facts["extra search"].detail == "without optuna: pip install 'buildmap[search]'"
    del versions["scipy"]
    _installed(monkeypatch, versions | {"buildmap": "1"}, (*needed, *lines))
    told = libraries.packages()[0]
    assert (told.status, told.detail, told.hint) == ("failed", "without scipy", "pip install scipy")


def test_an_extra_includes_what_its_packages_want_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {
        "buildmap": ["dask[distributed]>=2026.1.2; extra == 'dask'", "dask[array]>=2026; extra == 'xarray'"],
        "dask": ["toolz>=1", 'numpy>=1.24; extra == "array"', 'distributed<3; extra == "distributed"'],
    }
    _installed(monkeypatch, {"buildmap": "1", "dask": "2026.8", "numpy": "2.4"})
    monkeypatch.setattr(metadata, "requires", needs.__getitem__)
    details = {fact.name: fact.detail for fact in libraries.packages()}
    assert details["extra dask"] == "without distributed: pip install 'buildmap[dask]'"
    assert details["extra xarray"] == "dask 2026.8, numpy 2.4"


def test_a_program_that_is_not_installed_cannot_tell_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, {})
    (told,) = libraries.packages()
    assert (told.status, told.hint) == ("warning", "pip install .")
