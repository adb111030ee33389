"""Tasks that worker processes can import quickly."""

import os
import signal
import time
from pathlib import Path

from buildmap.errors import ResourceError


def square(step: int) -> int:
    return step * step


def pid(_step: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def slot(_step: int) -> str:
    time.sleep(0.02)
    return os.environ["SLOT"]


def slot_and_pid(step: int) -> tuple[str, int]:
    return slot(step), os.getpid()


def keep_slot(slot: int) -> None:
    os.environ["SLOT"] = str(slot)


def visible_gpu(_step: int) -> str:
    time.sleep(0.02)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def refuse(_slot: int) -> None:
    raise ResourceError("no GPU 7", hint="--device cpu")


def fail_at_three(step: int) -> int:
    if step == 3:
        raise KeyError("three")
    return step


def need_a_gpu(step: int) -> int:
    if step == 3:
        raise ResourceError("no GPU 7", hint="--device cpu")
    return step


def fail_once(folder: Path, step: int) -> int:
    if _first_time(folder / str(step)):
        raise OSError(step)
    return step


def die_once(folder: Path, step: int) -> int:
    if step == 3 and _first_time(folder / str(step)):
        os.kill(os.getpid(), signal.SIGKILL)
    return step * step


def die_at_three(step: int) -> int:
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return step * step


def count(folder: Path, step: int) -> int:
    (folder / f"begun-{step}").touch()
    return step


def slow_but_for_the_first(step: int) -> int:
    time.sleep(1 if step else 0)
    return step


def linger(folder: Path, step: int) -> int:
    """Say who works, take a while, and say what is done."""
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(0.2)
    (folder / f"{step}.done").touch()
    return step


def gone(folder: Path) -> bool:
    """Say whether all who worked there have ended."""
    return not any(_alive(int(path.stem)) for path in folder.glob("*.pid"))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _first_time(path: Path) -> bool:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
