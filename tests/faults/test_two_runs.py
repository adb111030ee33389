"""Two runs and one output: the second says who holds it, or waits."""

import os
import re
import threading
from pathlib import Path

import pytest

from buildmap.publish import staged
from tests.faults.injection import VERBS, output_of, run, write_scene


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(tmp_path, side=64)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("verb", ["predict", "predict-layer", "vectorize", "change"])
def test_the_second_is_told_who_holds_the_output(verb: str) -> None:
    arguments = VERBS[verb]
    output = output_of(arguments)
    with staged(output, overwrite=False) as folder:
        code, out, err = run(*arguments, "-q")
        (folder / output).touch()
    assert (code, out) == (75, "")
    assert re.search(rf"another run \(pid {os.getpid()} on \S+ since \d{{4}}-.*\) holds {output}", err)
    assert "hint: " in err


def test_the_second_waits_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDMAP_WAIT", "0.2")
    begun, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with staged(Path("o.tif"), overwrite=False) as folder:
            begun.set()
            ended.wait(60)
            (folder / "o.tif").write_bytes(b"by the first")

    first = threading.Thread(target=hold)
    first.start()
    begun.wait(60)
    arguments = [*VERBS["predict"], "-q", "--overwrite"]
    assert run(*arguments)[0] == 75
    threading.Timer(0.3, ended.set).start()
    code, _, err = run(*arguments, "--wait", "60")
    first.join()
    assert code == 0, err
    assert Path("o.tif").read_bytes()[:2] == b"II"


def test_a_note_of_the_holder_that_is_no_text_does_no_harm() -> None:
    with staged(Path("o.tif"), overwrite=False) as folder:
        Path(".o.tif.lock.holder").write_bytes(b"\xff\xfe")
        code, _, err = run(*VERBS["predict"], "-q")
        (folder / "o.tif").touch()
    assert code == 75
    assert "holds o.tif" in err
