"""A file in the making, under a name in which GDAL finds nothing to interpret."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def part_file(path: Path, suffix: str) -> Iterator[Path]:
    """Lend the name of the unfinished file beside `path`; only the folder it is in may have an odd name.

    Args:
        path: The file to be, in a folder of our own: see `publish.staged`.
        suffix: By which GDAL knows the format.
    """
    with tempfile.TemporaryDirectory(prefix="buildmap-") as folder:
        link = Path(folder) / "output"
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
        yield link / f"part{suffix}"


def drop_leftovers(path: Path, suffix: str) -> None:
    """Remove what an earlier run that was killed has left of the unfinished file, and of GDAL's beside it."""
    for left in path.parent.glob(f"part{suffix}*"):
        left.unlink()
