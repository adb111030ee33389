"""When imagery was taken, as far as its file says."""

from datetime import datetime

from rasterio.io import DatasetReader

TIFF_TAG = "TIFFTAG_DATETIME"
_TIFF_FORMAT = "%Y:%m:%d %H:%M:%S"


def taken_on(dataset: DatasetReader) -> str | None:
    """Give the date in a raster's metadata as YYYY-MM-DD.

    GDAL's domain IMAGERY, which it fills from what satellites deliver beside a raster, is believed before
    the tag of the TIFF, which may tell when the file was made.

    Returns:
        None where nothing is said, or nothing that is a date.
    """
    acquired = dataset.tags(ns="IMAGERY").get("ACQUISITIONDATETIME", "")
    return _date(acquired, None) or _date(dataset.tags().get(TIFF_TAG, ""), _TIFF_FORMAT)


def tags_of(date: str | None) -> dict[str, str]:
    """Give the tags of a raster made from imagery of a date, YYYY-MM-DD."""
    return {} if date is None else {TIFF_TAG: f"{date.replace('-', ':')} 00:00:00"}


def _date(text: str, form: str | None) -> str | None:
    try:
        found = datetime.fromisoformat(text) if form is None else datetime.strptime(text, form)
    except ValueError:
        return None
    return found.date().isoformat()
