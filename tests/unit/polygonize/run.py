"""Drawing a raster in bands, and telling the result in one word: `python -m tests.unit.polygonize.run`."""

import hashlib
import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import shapely

from buildmap.execution.executor import Executor, Processes
from buildmap.execution.journal import Journal
from buildmap.execution.progress import Silent
from buildmap.polygonize.bands import SUFFIX, drawn_bands
from buildmap.polygonize.job import BandJob, plan_facts
from buildmap.vector.drawn import Drawn, join
from tests.unit.polygonize.sketch import sketch


def draw(
    job: BandJob,
    folder: Path,
    executor: Executor | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> list[Drawn]:
    """Give what each band gives."""
    journal = Journal(folder, plan_facts(job), suffix=SUFFIX)
    return list(drawn_bands(job, sketch, journal, executor, progress=Silent(), stop=stop))


def digest(batches: list[Drawn]) -> str:
    """Tell all that was drawn; it has to be in order."""
    drawn = join(batches)
    assert drawn.order.tolist() == sorted(drawn.order.tolist())
    hashed = hashlib.sha256()
    for field in fields(Drawn):
        array = getattr(drawn, field.name)
        if array.dtype == object:
            hashed.update(b"".join(shapely.to_wkb(array)))
        else:
            hashed.update(json.dumps(array.tolist()).encode())
    return hashed.hexdigest()


if __name__ == "__main__":
    workers = int(sys.argv[3])
    processes = Processes(workers=workers, ahead=workers + 1) if workers > 1 else None
    given = draw(pickle.loads(bytes.fromhex(sys.argv[1])), Path(sys.argv[2]), processes)
    sys.stdout.write(digest(given))
