"""Open handles of one raster: one for every thread and overview, since GDAL's may not be shared."""

import threading
from pathlib import Path

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader, MemoryFile

from buildmap.errors import InputError
from buildmap.raster.quiet import unreferenced_is_fine
from buildmap.raster.remote import is_remote, settings


class Handles:
    """Opens a raster for whoever asks, and closes all handles together."""

    def __init__(self, name: str, *, title: str, driver: str | None) -> None:
        """Open nothing yet.

        Args:
            name: As GDAL knows the raster; the text of a VRT too.
            title: The raster's name in messages.
            driver: The only driver that may open it; any when None.
        """
        self._vrt = MemoryFile(name.encode(), ext=".vrt") if name.startswith("<VRTDataset") else None
        self.name = name if self._vrt is None else self._vrt.name
        self.remote = is_remote(name)
        self._title = title
        self._driver = driver
        self._threads = threading.local()
        self._opened: list[tuple[threading.Thread, DatasetReader]] = []
        self._lock = threading.Lock()

    def get(self, overview: int | None = None) -> DatasetReader:
        """Give this thread's handle of the raster, or of one of its overviews, counted from 0.

        Raises:
            InputError: If GDAL cannot open it.
        """
        if not hasattr(self._threads, "own"):
            self._threads.own = {}
        own: dict[int | None, DatasetReader] = self._threads.own
        dataset = own.get(overview)
        if dataset is None:
            dataset = own[overview] = self._open(overview)
            with self._lock:
                self._close_handles_of_ended_threads()
                self._opened.append((threading.current_thread(), dataset))
        return dataset

    def close(self) -> None:
        """Close the handles of all threads."""
        with self._lock:
            for _, dataset in self._opened:
                dataset.close()
            self._opened.clear()
        if self._vrt is not None:
            self._vrt.close()

    def _open(self, overview: int | None) -> DatasetReader:
        name = Path(self.name) if self._driver is not None and Path(self.name).exists() else self.name
        options: dict[str, object] = {} if overview is None else {"OVERVIEW_LEVEL": overview}
        if self._driver == "GTI":  # or what lies between its rasters would be data
            options["MASK_BAND"] = "YES"
        try:
            with unreferenced_is_fine(), settings(remote=self.remote):
                return rasterio.open(name, driver=self._driver, **options)
        except (RasterioIOError, CPLE_BaseError) as error:
            raise InputError(f"{self._title} cannot be read as a raster: {error}") from error

    def _close_handles_of_ended_threads(self) -> None:
        """Keep the number of open files by the number of threads, however many pools come and go."""
        for thread, dataset in self._opened:
            if not thread.is_alive():
                dataset.close()
        self._opened = [opened for opened in self._opened if opened[0].is_alive()]
