"""Silencing one warning, safely in threads."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rasterio.errors import NotGeoreferencedWarning

_LOCK = threading.Lock()


@contextmanager
def unreferenced_is_fine() -> Iterator[None]:
    """Let rasterio open or draw what has no georeference, without a word: `Grid` says so where it matters.

    Python keeps one list of filters for all threads, so two threads that silence a warning at the same
    time can let it through, or keep it silent for ever. All of ours do it here, one at a time.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
