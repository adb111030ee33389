"""Names of rasters as GDAL wants them, and the settings with which it reads ranges of remote files."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio.env import get_gdal_config

_SCHEMES = {
    "http://": "/vsicurl/http://",
    "https://": "/vsicurl/https://",
    "ftp://": "/vsicurl/ftp://",
    "s3://": "/vsis3/",
    "gs://": "/vsigs/",
    "az://": "/vsiaz/",
}
_CONNECTS = re.compile(
    r"/vsi(?!zip|gzip|tar|7z|rar|mem|subfile|sparse)|\w+://|<|(WMS|WMTS|WCS|STAC\w+|HTTP|GTI):", re.I
)
_REMOTE_FILE = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)")
_SETTINGS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no listing, and no guessing at side files
    "GDAL_INGESTED_BYTES_AT_OPEN": "65536",  # the header of a COG in one request, of all but the largest
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "0.5",  # seconds, doubled each time
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",  # a connection that died without a word ends
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "VSI_CACHE": "TRUE",  # or pixels would push the tile index out of the cache
    "VSI_CACHE_SIZE": "5000000",  # bytes for each handle
}
"""CPL_VSIL_CURL_ALLOWED_EXTENSIONS is not among them: it hides rasters whose URL ends in a query."""


def gdal_name(name: str | Path) -> str:
    """Give the name that GDAL knows a raster by: URLs become names of its file systems."""
    text = str(name)
    if isinstance(name, str):
        for scheme, prefix in _SCHEMES.items():
            if text.lower().startswith(scheme):
                return prefix + text[len(scheme) :]
    return text


def connects(name: str) -> bool:
    """Tell whether GDAL would leave this machine for a name, or might."""
    return _CONNECTS.search(name) is not None


def is_remote(name: str) -> bool:
    """Tell whether a raster that may be read lies in a network, or some of a VRT's text does."""
    return _REMOTE_FILE.search(name) is not None if name.startswith("<VRTDataset") else connects(name)


@contextmanager
def settings(*, remote: bool) -> Iterator[None]:
    """Read a remote raster with the settings that range reads need, where the user has not set them."""
    if not remote:
        yield
        return
    unset = {key: value for key, value in _SETTINGS.items() if not _is_set(key)}
    with rasterio.Env(**unset):
        yield


def _is_set(key: str) -> bool:
    return key in os.environ or get_gdal_config(key) is not None
